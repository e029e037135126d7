// Pages of our own that another domain may map: the steps of GrantMachine on gntalloc.

/// How pages are to be shared.
struct SharingPlan {
    var domain: DomainID
    var pages: PageCount
    /// Whether the other domain may write.
    var isWritable = false
    var notification = UnmapNotification()
}

/// Pages that are granted to another domain, zero at first, taken back when the last owner goes.
final class SharedPages {
    private let pages: GrantedPages
    /// The device's descriptor.
    let device: Int32
    /// What the other domain calls the pages, in their order.
    let references: [GrantReference]

    /// - Parameter device: nil for one of its own.
    /// - Throws: `.limit`, or the kernel's errno.
    init(_ plan: SharingPlan, on device: GntAlloc? = nil) throws(GrantError) {
        let own: GntAlloc
        if let device { own = device } else { own = try GntAlloc() }
        self.device = own.number
        let steps = SharingSteps(own, plan)
        pages = try GrantedPages(steps, isNotifying: !plan.notification.isEmpty)
        references = steps.references
    }

    /// The pages, one after the other, for as long as this object is kept (`unmap` at the end of
    /// their use keeps it). Their content may change at any moment if the other
    /// domain may write.
    var bytes: UnsafeMutableRawBufferPointer { unsafe pages.bytes }

    /// Takes the pages back now: the other domain can map them no more, but keeps what it has
    /// mapped. `bytes` is empty afterwards.
    func unmap() throws(GrantError) { try pages.unmap() }
}

private final class SharingSteps: GrantSteps {
    private let device: GntAlloc
    private let plan: SharingPlan
    var references: [GrantReference] = []

    init(_ device: GntAlloc, _ plan: SharingPlan) {
        self.device = device
        self.plan = plan
    }

    private var name: Text {
        "\(plan.pages.count) \(plan.pages.count == 1 ? "page" : "pages") for domain \(plan.domain.rawValue)"
    }

    func reference() throws(GrantError) -> GrantIndex {
        do throws(Errno) {
            let (index, references) = try device.allocate(
                plan.pages, for: plan.domain, isWritable: plan.isWritable)
            self.references = references
            return index
        } catch {
            if error == .notATerminal {
                throw .notOffered(
                    XenDevice.gntalloc.unknown("ALLOC_GREF"), device: XenDevice.gntalloc.path)
            }
            guard error == .noSpace else { throw .system("share \(name)", error) }
            guard let most = device.limit else {
                throw .limit(
                    "cannot share \(name): the limit of gntalloc is reached, or this domain's grant table is full"
                )
            }
            throw .limit(
                "cannot share \(name): gntalloc lends at most \(most) pages at a time in all; a larger number in \(XenDevice.gntalloc.limitFile ?? "") changes that, if this domain's grant table has room"
            )
        }
    }

    func map(_ index: GrantIndex) throws(GrantError) -> Mapping? {
        do throws(Errno) { return try device.map(index) } catch {
            throw .system("map \(name)", error)
        }
    }

    func arm(_ index: GrantIndex) throws(GrantError) {
        do throws(Errno) { try device.notify(plan.notification, of: index) } catch {
            throw notificationFailure(plan.notification, of: name, error)
        }
    }

    func release(_ index: GrantIndex) throws(GrantError) {
        do throws(Errno) { try device.free(index) } catch {
            throw .system("take back \(name)", error)
        }
    }

    func wait() throws(GrantError) {}
}
