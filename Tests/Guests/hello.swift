// Property: a guest can print and power off.

introduce()
line("hello from ring 1")
powerOff()
