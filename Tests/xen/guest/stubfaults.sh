# Stub domains whose table cannot be carried out: a line says which statement and why, and what on-error= says is done.

. /tests/stublibrary.sh
at="mini-init: /proc/cmdline:1:*:"

# A reference that does not exist; each action of on-error.
for type in pv pvh; do
    stub "absent-$type" "$type" stub.cpio "$devices mini.on-error=poweroff mini.grant=\"gone 0 8-9,16000 hold\""
    gone
    said "$type: a grant that does not exist is told by its number" "$at grant 8 of domain 0: *no*" "mini-init: powering off"
    check "$type: on-error=poweroff" "$reason" = 0
done
stub reboot pv stub.cpio "$devices mini.on-error=reboot mini.launch=\"--memory 8 grant:0:16000\""
gone
said "a guest's kernel in a grant that does not exist" \
    "mini-launch: cannot open \"grant:0:16000\": grant 16000 of domain 0: *" "$at \"mini-launch\" ended with code 1" "mini-init: rebooting"
check "on-error=reboot" "$reason" = 1

# One after the other, none the end. The page is for reading only.
stub tries pv stub.cpio "$devices mini.on-error=poweroff mini.wait=\"store data/go deadline=600s\"
 mini.try=\"grant page 0 @data/none hold deadline=250ms\" mini.try=\"grant page 0 @data/words\" mini.try=\"grant page 0 @data/page write\"
 mini.try=\"grant page 0 @data/page hold notify-port=4000\" mini.try=\"notify 0 @data/words\" mini.try=\"notify 0 4000\"
 mini.try=\"wait event 0 @data/port deadline=700ms\" mini.try=\"launch --memory 8 @data/none\"
 mini.try=\"launch --memory 8 @data/words\" mini.try=\"launch --memory 8 @data/page\"
 mini.grant=\"page 0 @data/page to=/run/page\" mini.run=\"mini-grant store set data/state done\"
 mini.wait=\"store data/never deadline=1s\" mini.run=\"mini-grant store set data/state never\""
head -c 4096 /dev/urandom >/tmp/stub.page
granter "$domain" /tmp/stub.page readonly
awaits bell ring
xenstore-write "$data/page" "$references" "$data/words" "no number" "$data/port" "$port" "$data/go" 1
gone
end_granters
# On a busy machine even the store's answers take longer than short deadlines.
said "each statement that fails is told with its place and why, and with try the next one follows" \
    "$at *in time" \
    "$at \"no number\", which the store has at \"data/words\", is no number" \
    "$at grant $references of domain 0: granted for reading only" \
    "$at Xen does not bind event port 4000 of domain 0: *" \
    "$at \"no number\", which the store has at \"data/words\", is no number" \
    "$at Xen does not bind event port 4000 of domain 0: *" \
    "$at no event has come in time" \
    "mini-launch: cannot open \"@data/none\": cannot read \"data/none\": no such entry (ENOENT)" \
    "mini-launch: cannot open \"@data/words\": \"0:no number\" is not DOMAIN:REFERENCES or DOMAIN:REFERENCES:LENGTH" \
    "mini-launch: *" "$at \"mini-launch\" ended with code 3" \
    "$at *in time" "mini-init: powering off"
came bell >/tmp/stub.came
check "an event that dom0 never sends ends a wait at its deadline, and dom0 has heard that it began" "$reason $(cat /tmp/stub.came)" = "0 event 255"

# The store itself stops answering. The domain has rung when it has what it needs of it.
stub mute pv stub.cpio "$devices mini.on-error=poweroff mini.wait=\"store data/port deadline=600s\" mini.notify=\"0 @data/port\"
 mini.try=\"wait file /none deadline=15s\" mini.grant=\"page 0 @data/page hold deadline=2s\""
awaits bell ring
xenstore-write "$data/page" 8 "$data/port" "$port"
came bell >/tmp/stub.came
killall -STOP xenstored
# Until it has said so: its console is not the store's.
tries=0
until grep -q "the store did not answer" /tmp/guest-mute.log || [ $tries -ge 600 ]; do sleep 0.2 && tries=$((tries + 1)); done
killall -CONT xenstored
gone
said "a store that does not answer: a grant's deadline counts for it, too" \
    "$at the store did not answer in time" "mini-init: powering off"
check "and the domain has powered off" "$reason" = 0

# A domain that waits for what never comes is still asked to power off by `xl shutdown`, and does so in order.
stub asked pv stub.cpio "$devices mini.set=\"/proc/sys/kernel/poweroff_cmd /init mini-init poweroff\" mini.on-error=reboot
 mini.wait=\"store data/page deadline=600s\" mini.grant=\"page 0 @data/page hold notify-byte=17 notify-port=@data/port\"
 mini.run=\"mini-grant store set data/state waiting\" mini.wait=\"store data/never deadline=600s\""
awaits control
xenstore-write "$data/port" "$port" "$data/page" "$reference"
mini-grant store wait --value waiting --deadline 600 "$data/state" >/dev/null
xl shutdown asked >/dev/null 2>&1
gone
came control >/tmp/stub.came
said "xl shutdown is answered while a statement waits" "mini-init: powering off"
check "and what was held is given back" "$reason $(cat /tmp/stub.came)" = "0 event 0"

# So is one with a link for that, and for `xl reboot`.
for verb in shutdown reboot; do
    stub "linked-$verb" pv stub.cpio "$devices mini.on-error=halt mini.run=\"mini-grant store set data/state waiting\"
 mini.wait=\"store data/never deadline=600s\""
    mini-grant store wait --value waiting --deadline 600 "$data/state" >/dev/null
    xl $verb "linked-$verb" >/dev/null 2>&1
    gone
    case $verb in shutdown) wanted="0 powering off" ;; reboot) wanted="1 rebooting" ;; esac
    said "xl $verb starts a link to the binary, which asks process 1" "mini-init: ${wanted#? }"
    check "  and Xen is told so" "$reason" = "${wanted%% *}"
done
