// Property: a crash hypercall ends the guest with its own words.

introduce()
crash("Kernel panic - this guest is made to")
