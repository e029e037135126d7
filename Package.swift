// swift-tools-version: 6.2
import PackageDescription

// The plain-toolchain build: ordinary Swift, for `swift build` and the tests.
// The release, which is Embedded Swift without a C library, is made by build.sh
// from the same sources.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
]

let package = Package(
    name: "mini",
    targets: [
        .target(name: "CShim", path: "Sources/CShim"),
        .executableTarget(
            name: "Mini",
            dependencies: ["CShim"],
            path: "Sources/Mini",
            swiftSettings: settings
        ),
        .testTarget(
            name: "MiniTests",
            dependencies: ["Mini", "CShim"],
            path: "Tests/MiniTests",
            swiftSettings: [.swiftLanguageMode(.v6)]
        ),
        .testTarget(
            name: "FuzzTests",
            dependencies: ["Mini", "CShim"],
            path: "Tests/Fuzz",
            exclude: ["main.swift", "README.md", "kept"],
            swiftSettings: [.swiftLanguageMode(.v6)]
        ),
    ]
)
