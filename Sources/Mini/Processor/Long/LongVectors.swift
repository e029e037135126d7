// What the shared vector unit (Processor/Vector) asks of the processor of long mode; FXSAVE and FXRSTOR.
//
// Source: AMD64 Architecture Programmer's Manual volume 2, chapter 11; volumes 4 and 5.

extension LongOperation: VectorOperands {
    var vectorCode: VectorCode { VectorCode(bits: UInt32(bitPattern: immediate)) }
    var isMemory: Bool { shape.isMemory }
    var generalSize: UInt8 { shape.size }
}

extension LongCore: VectorCore {
    /// #UD where CR0.EM or not CR4.OSFXSR says so, #NM with CR0.TS.
    func useVectors() throws(Fault) {
        guard state.control0 & UInt64(Control0.emulation) == 0,
            state.control4 & UInt64(Control4.fastSave) != 0
        else { throw .undefined }
        if !state.hasVectors { throw .noDevice }
    }

    func useMultimedia() throws(Fault) {
        if state.control0 & UInt64(Control0.emulation) != 0 { throw .undefined }
        if state.control0 & UInt64(Control0.taskSwitched) != 0 { throw .noDevice }
        if state.floatingPoint.wait() == .pending { throw .floatingPoint }
    }

    var vectorControl: UInt32 {
        get { state.vectorControl }
        nonmutating set { state.vectorControl = newValue }
    }
    var reportsVectorFaults: Bool { state.control4 & UInt64(Control4.vectorFaults) != 0 }
    var floatingPoint: FloatingPointUnit {
        _read { yield state.floatingPoint }
        nonmutating _modify { yield &state.floatingPoint }
    }
    private static let vectorOffset = 256
    var vectorScratch: UnsafeMutableRawPointer { unsafe state.scratch + Self.vectorOffset }

    func general(_ place: UInt8, _ size: UInt8) -> UInt64 { part(place, size) }
    func setGeneral(_ place: UInt8, _ size: UInt8, _ value: UInt64) { setPart(place, size, value) }

    func load(
        _ i: LongOperation, to place: UnsafeMutableRawPointer, _ count: Int, isAligned: Bool
    ) throws(Fault) {
        let from = linear(i)
        if isAligned && from & 15 != 0 { throw .protection(0) }
        if let host = unsafe readable(from, UInt64(count)) {
            unsafe place.copyMemory(from: host, byteCount: count)
        } else {
            try unsafe copy(from, place, count, write: false)
        }
    }

    func store(
        _ i: LongOperation, from place: UnsafeMutableRawPointer, _ count: Int, isAligned: Bool
    ) throws(Fault) {
        let to = linear(i)
        if isAligned && to & 15 != 0 { throw .protection(0) }
        if let host = unsafe writable(to, UInt64(count)) {
            unsafe host.copyMemory(from: place, byteCount: count)
        } else {
            try unsafe copy(to, place, count, write: true)
        }
    }

    func storeMasked(
        _ i: LongOperation, _ value: (UInt64, UInt64), _ mask: (UInt64, UInt64)
    ) throws(Fault) {
        let start = implicit(i, rdi)
        for pass in 0..<2 {
            for index in 0..<16 as Range<UInt64> {
                let shift = (index & 7) &* 8
                guard (index < 8 ? mask.0 : mask.1) &>> shift & 0x80 != 0 else { continue }
                let byte = (index < 8 ? value.0 : value.1) &>> shift & 0xFF
                let place = moved(start, by: index)
                if pass == 0 { try checkWrite(place, 1) } else { try write(place, byte, 1) }
            }
        }
    }

    // MARK: FXSAVE, FXRSTOR

    private static let imageOffset = 512
    private static let vectorPlace = 160

    private func imagePlace(_ i: LongOperation) throws(Fault) -> UInt64 {
        if state.control0 & UInt64(Control0.taskSwitched | Control0.emulation) != 0 {
            throw .noDevice
        }
        let place = linear(i)
        guard place & 15 == 0 else { throw .protection(0) }
        return place
    }

    /// Of 512 bytes the first 416; the others are the program's.
    func saveState(_ i: LongOperation) throws(Fault) {
        let place = try imagePlace(i)
        let image = unsafe state.scratch + Self.imageOffset
        try checkWrite(place, 512)
        unsafe state.floatingPoint.save(state.scratch, to: image)
        if i.shape.size == 3 {
            // Pointers of 64 bits, of which 32 are kept.
            unsafe image.storeBytes(of: 0, toByteOffset: 12, as: UInt32.self)
            unsafe image.storeBytes(of: 0, toByteOffset: 20, as: UInt32.self)
        }
        unsafe image.storeBytes(of: state.vectorControl, toByteOffset: 24, as: UInt32.self)
        unsafe image.storeBytes(
            of: Self.controlStatusBits, toByteOffset: 28, as: UInt32.self)
        unsafe (image + Self.vectorPlace).copyMemory(from: vector(0), byteCount: vectorCount)
        try unsafe copy(place, image, Self.vectorPlace + vectorCount, write: true)
    }

    func restoreState(_ i: LongOperation) throws(Fault) {
        let place = try imagePlace(i)
        let image = unsafe state.scratch + Self.imageOffset
        try unsafe copy(place, image, 512, write: false)
        let control = unsafe image.load(fromByteOffset: 24, as: UInt32.self)
        guard control & ~Self.controlStatusBits == 0 else { throw .protection(0) }
        if i.shape.size == 3 {
            unsafe image.storeBytes(of: 0, toByteOffset: 12, as: UInt32.self)
            unsafe image.storeBytes(of: 0, toByteOffset: 20, as: UInt32.self)
        }
        unsafe state.floatingPoint.restore(state.scratch, from: image)
        state.vectorControl = control
        unsafe vector(0).copyMemory(from: image + Self.vectorPlace, byteCount: vectorCount)
    }

    /// Bytes of the vectors that code can name; those of others are left alone.
    private var vectorCount: Int { state.isLong ? 256 : 128 }
}
