// The page: 4096 bytes, on every machine that this program runs on, in every guest, and for every grant.

enum Page {
    static let size: UInt32 = 4096
    /// An address shifted right by this is the page's number.
    static let shift: UInt32 = 12
    /// The bits of an address inside its page, and those of the page.
    static let offset: UInt32 = 0xFFF
    static let number: UInt32 = 0xFFFF_F000

    /// Bytes from an address to the end of its page.
    @inline(__always) static func rest(_ address: UInt32) -> UInt32 { size - address & offset }

    /// As many bytes as the pages have that hold so many. Both can be counted.
    @inline(__always) static func rounded<Count: FixedWidthInteger>(_ count: Count) -> Count {
        (count + Count(offset)) & ~Count(offset)
    }
}

/// A number of pages.
struct PageCount: Equatable, Comparable {
    let count: Int

    static let pageSize = Int(Page.size)

    init(_ count: Int) { self.count = count }

    /// As many pages as `bytes` need.
    init(bytes: Int) { count = (bytes + Self.pageSize - 1) / Self.pageSize }

    var bytes: Int { count * Self.pageSize }

    static func < (left: Self, right: Self) -> Bool { left.count < right.count }
}
