// What the string instructions of both cores do many elements at a time, in our own memory.
// Source: Intel SDM volume 2, MOVS, STOS.

enum StringRun {
    /// Copies `count` bytes upwards, as one element after the other would be.
    /// - Returns: false, and nothing is done, where an element lies over the one that it is copied from.
    static func copy(
        _ target: UnsafeMutableRawPointer, _ source: UnsafeMutableRawPointer, _ count: UInt,
        element bytes: UInt
    ) -> Bool {
        let distance = UInt(bitPattern: target) &- UInt(bitPattern: source)
        guard distance != 0 else { return true }
        guard distance >= bytes else { return false }
        // What is moved a little further repeats a pattern: so much at a time as is there already.
        var done: UInt = 0
        while done < count {
            let (known, isFar) = distance.addingReportingOverflow(done)
            let size = min(isFar ? count : known, count &- done)
            unsafe (target + Int(bitPattern: done)).copyMemory(
                from: source, byteCount: Int(bitPattern: size))
            done &+= size
        }
        return true
    }

    /// Stores `count` bytes of elements of 1, 2, 4 or 8 bytes (`size` 0 to 3), all with the same value.
    static func fill(
        _ target: UnsafeMutableRawPointer, _ count: UInt, _ value: UInt, size: UInt8
    ) {
        let element = UInt.max &>> (UInt(UInt.bitWidth) &- 8 &<< UInt(size))
        // The value as often as a word holds it.
        let pattern = (value & element) &* (UInt.max / element)
        let word = UInt(UInt.bitWidth / 8)
        let whole = count & ~(word &- 1)
        var place: UInt = 0
        while place < whole {
            unsafe target.storeBytes(
                of: pattern, toByteOffset: Int(bitPattern: place), as: UInt.self)
            place &+= word
        }
        while place < count {
            unsafe target.storeBytes(
                of: UInt8(truncatingIfNeeded: pattern &>> (8 &* (place & (word &- 1)))),
                toByteOffset: Int(bitPattern: place), as: UInt8.self)
            place &+= 1
        }
    }
}
