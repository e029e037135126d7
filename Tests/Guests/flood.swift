// Property: a megabyte of output arrives whole and in order.

introduce()
nonisolated(unsafe) var number: UInt32 = 0
while number < 20_000 {
    put(number, width: 8)
    line(" abcdefghijklmnopqrstuvwxyz0123456789 ABCDE")
    number += 1
}
powerOff()
