// Property: a guest that never yields can still be left from outside.

introduce()
line("spinning")
while true {}
