// Property: a trap without a handler ends the guest with its number and place.

import GuestShim

introduce()
guest_undefined()
powerOff()
