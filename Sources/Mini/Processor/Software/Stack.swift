// Pushes and pops of any size on any stack segment. What an instruction pushes is gathered in
// a `Frame` first; all of it is checked before any of it is written, so that a fault leaves
// everything as it was. Source: Intel SDM volume 1, chapter 6.2.

/// Values to push, in the order of pushing; they lie in the state's scratch.
struct Frame {
    /// Of each value: 1 is 16 bits, 2 is 32.
    let size: UInt8
    fileprivate(set) var count = 0

    init(size: UInt8) { self.size = size }

    var itemBytes: UInt32 { size == 1 ? 2 : 4 }
    /// Where in the scratch the values lie: room for 40.
    static let offset = 256
}

extension Core {
    /// Adds a value to a frame; there is one frame at a time.
    func append(_ value: UInt32, to frame: inout Frame) {
        Checks.require(frame.count >= 0 && frame.count < 40, "a frame has at most 40 values")
        unsafe state.scratch.storeBytes(
            of: value, toByteOffset: Frame.offset + frame.count * 4, as: UInt32.self)
        frame.count += 1
    }

    private func value(_ index: Int) -> UInt32 {
        unsafe state.scratch.load(fromByteOffset: Frame.offset + index * 4, as: UInt32.self)
    }

    /// Which bits of esp the stack segment uses.
    static func stackMask(_ register: SegmentRegister) -> UInt32 {
        register.is32 ? 0xFFFF_FFFF : 0xFFFF
    }
    var stackRegister: SegmentRegister { unsafe state.segments[SegmentRegister.stack] }
    var stackMask: UInt32 { Self.stackMask(stackRegister) }

    /// esp with the bits that the stack segment uses replaced.
    func setStackPointer(_ value: UInt32) {
        let mask = stackMask
        state.esp = state.esp & ~mask | value & mask
    }

    /// Writes a frame below a stack pointer; nothing is written if any of it faults.
    /// - Returns: the new stack pointer, not yet in esp.
    func write(
        _ frame: Frame, below pointer: UInt32, on register: SegmentRegister, base: UInt32,
        fault: Fault
    ) throws(Fault) -> UInt32 {
        if frame.size == 2, let top = plainWrite(frame, below: pointer, on: register, base) {
            return top
        }
        let mask = Self.stackMask(register)
        var offset = pointer
        for _ in 0..<frame.count {
            offset = (offset &- frame.itemBytes) & mask
            try Self.checkAccess(register, offset, frame.itemBytes, write: true, fault)
            try checkWrite(base &+ offset, frame.itemBytes)
        }
        offset = pointer
        for index in 0..<frame.count {
            offset = (offset &- frame.itemBytes) & mask
            if frame.size == 1 {
                try write(base &+ offset, UInt16(truncatingIfNeeded: value(index)))
            } else {
                try write(base &+ offset, value(index))
            }
        }
        return pointer & ~mask | offset
    }

    /// The common case: an open stack segment and a page that may be written at once.
    private func plainWrite(
        _ frame: Frame, below pointer: UInt32, on register: SegmentRegister, _ base: UInt32
    ) -> UInt32? {
        guard register.limit == 0xFFFF_FFFF, register.is32, register.isWritable,
            !register.isExpandDown
        else { return nil }
        let bytes = UInt32(frame.count) &* 4
        let bottom = pointer &- bytes
        let linear = base &+ bottom
        guard linear & Page.offset <= Page.size - bytes,
            let host = unsafe writable(linear, UInt8.self)
        else {
            return nil
        }
        checkHost(UInt(bitPattern: host), UInt(bytes))
        for index in 0..<frame.count {
            unsafe host.storeBytes(
                of: value(index), toByteOffset: (frame.count - 1 - index) * 4, as: UInt32.self)
        }
        return bottom
    }

    /// Pushes a frame on the present stack.
    func push(_ frame: Frame) throws(Fault) {
        state.esp = try write(
            frame, below: state.esp, on: stackRegister, base: state.ssBase, fault: .stack(0))
    }

    func push(_ value: UInt32, size: UInt8) throws(Fault) {
        var frame = Frame(size: size)
        append(value, to: &frame)
        try push(frame)
    }

    /// The item `index` places above esp, which stays.
    func peek(_ index: UInt32, size: UInt8) throws(Fault) -> UInt32 {
        let bytes: UInt32 = size == 1 ? 2 : 4
        let offset = (state.esp &+ index &* bytes) & stackMask
        let address = try linear(SegmentRegister.stack, offset, bytes, write: false)
        return size == 1 ? UInt32(try read(address, as: UInt16.self)) : try read(address)
    }

    func discard(_ bytes: UInt32) { setStackPointer(state.esp &+ bytes) }
}
