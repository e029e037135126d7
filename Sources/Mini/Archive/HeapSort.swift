// Sorting by a heap: the standard library's way would be three kilobytes of program.

enum HeapSort {
    /// - Parameter isBefore: of two of the numbers, true if the first is to come before the second.
    @inline(never)
    static func sort(_ numbers: inout [Int], _ isBefore: (Int, Int) -> Bool) {
        var start = numbers.count / 2
        var end = numbers.count
        while end > 1 {
            if start > 0 {
                start -= 1
            } else {
                end -= 1
                numbers.swapAt(0, end)
            }
            var place = start
            while 2 * place + 1 < end {
                var next = 2 * place + 1
                if next + 1 < end, isBefore(numbers[next], numbers[next + 1]) { next += 1 }
                guard isBefore(numbers[place], numbers[next]) else { break }
                numbers.swapAt(place, next)
                place = next
            }
        }
    }
}
