// DMA between guests: a key in a page that several guests share is no business of the
// launcher's. What is sent there goes to the guest whose slot it is; what others send to our
// guest's slot fills the buffers that it bound. Source: docs/abi/lguest.md §5.1.
//
// Two differences from the original. A guest hears only at its own slot's key: it could bind
// another's there, and take what is meant for it. And the first free buffer is filled, not the
// next in turn: drivers look at their buffers from the first on, so frames keep their order.

extension Host {
    /// What BIND_DMA does for a key in a shared page, before and after the binding changes.
    /// - Returns: nil if the key is in none.
    func bindShared(_ key: DMAKey, _ buffers: UInt32, _ code: UInt32) -> UInt32? {
        guard let page = memory.sharedPage(of: key.rawValue) else { return nil }
        guard let inlet = inlet(of: page), inlet.key == key else { return 0 }
        guard bindings.bind(key: key, buffers: buffers, code: code) else { return 0 }
        if bindings[key] == nil {
            inlet.close()
        } else if !inlet.open() {
            _ = bindings.bind(key: key, buffers: buffers, code: 0)
            return 0
        }
        return 1
    }

    /// SEND_DMA with a key in a shared page: at once, or not at all. The record's used_len tells
    /// the guest how much was taken.
    func sendShared(_ notification: DMANotification, of page: SharedPage) {
        let (record, key) = (notification.record.rawValue, notification.key)
        let slot = NetworkPage.slot(key, of: page.start)
        guard slot != page.slot, slot < UInt32(SharedPage.slots), let inlet = inlet(of: page)
        else { return }
        let outlet = inlet.outlets.outlet(to: slot, of: page)
        // Only when there is a receiver the record is looked at.
        let outcome = outlet.carry({ frame(record) }, watched: watched)
        switch outcome {
        case .taken(let count): memory.store32(record, count)
        case .defect(let state): wayDefect = state
        case .lost, .skipped: break
        }
    }

    private func inlet(of page: SharedPage) -> PeerInlet? {
        inlets.first { $0.page.start == page.start }
    }

    /// The pieces of memory that a guest sends; nil, and the guest is dead, if they are not its own.
    private func frame(_ record: UInt32) -> IOVector? {
        guard let sections = sections(record) else { return nil }
        var frame = IOVector(pieces: sections.count)
        for section in sections { unsafe frame.append(memory.readable(section)) }
        return frame
    }

    /// The sections of a record, each inside one page of the guest's.
    private func sections(_ address: UInt32) -> [GuestRange]? {
        guard let layout = abi.dma, let record = readable(address, GuestABI.dmaRecordSize)
        else { return nil }
        return DmaRecord.sections(of: record, in: memory, layout: layout) { start, count in
            guard let section = range(start, count), count <= Page.rest(start) else {
                kill(.badDmaEntry(address: start, count: count))
                return nil
            }
            return section
        }
    }

    // MARK: - Receiving

    /// Looks at every inlet that may have something.
    func servePeers() {
        for inlet in inlets where inlet.isOpen {
            inlet.accept()
            receive(inlet)
        }
    }

    /// A buffer may have become free since frames had to wait.
    func serveWaitingPeers() {
        for inlet in inlets where inlet.isWaiting {
            guard let binding = bindings[inlet.key], hasFreeBuffer(binding) else { continue }
            receive(inlet)
        }
    }

    private func receive(_ inlet: PeerInlet) {
        guard let binding = bindings[inlet.key] else { return }
        let wasWaiting = inlet.isWaiting
        var record: UInt32 = 0
        inlet.receive(
            room: {
                guard let free = freeBuffer(binding) else {
                    return machine.phase == .dead ? .dead : .noRoom
                }
                guard let sections = sections(free) else { return .dead }
                record = free
                var room = IOVector(pieces: sections.count)
                for section in sections {
                    unsafe room.append(UnsafeRawBufferPointer(memory.writable(section)))
                }
                return .into(room)
            },
            received: { count in
                memory.store32(record, count)
                lines.raise(binding.line)
            })
        // The guest is told even then: it may have forgotten to look.
        if inlet.isWaiting && !wasWaiting { lines.raise(binding.line) }
    }

    /// The first buffer of a binding that is free.
    private func freeBuffer(_ binding: DmaBindings.Binding) -> UInt32? {
        for index in 0..<UInt32(binding.count) {
            let address = binding.buffers &+ index &* GuestABI.dmaRecordSize
            guard range(address, GuestABI.dmaRecordSize) != nil else {
                kill(.badRegisteredRecord)
                return nil
            }
            if DmaRecord.isFree(address, in: memory) { return address }
        }
        return nil
    }

    /// True if one of the first buffers is free.
    func hasFreeBuffer(_ binding: DmaBindings.Binding) -> Bool {
        (0..<min(UInt32(binding.count), 16)).contains { index in
            DmaRecord.isFree(binding.buffers &+ index &* GuestABI.dmaRecordSize, in: memory)
        }
    }
}
