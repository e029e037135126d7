// The applets of this binary, as programs that process 1 can start without a file: a child runs
// one right after it is made. Which there are is the business of the floor above.

/// The applets that a child of process 1 can run without a file.
struct InnerPrograms {
    /// Runs an applet, if the first word names one.
    /// - Returns: its exit code; nil if there is no such applet.
    var run: ([Text]) -> Int32?
    /// Looks at a command line without running it.
    /// - Returns: what is wrong with it; nil for nothing, or for no applet.
    var complaint: ([Text]) -> Text?
    /// False for the name of an applet that this build was made without.
    var has: (Text) -> Bool = { _ in true }

    /// What `launch` starts.
    static var launch: Text { "mini-launch" }
    /// What carries a vchan.
    static var grant: Text { "mini-grant" }
}
