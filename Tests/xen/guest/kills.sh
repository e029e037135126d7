# Ends of vchans are killed at moments of chance: the end that is left never says that all is well when something was lost.
# `kills=N` on dom0's command line has more of them, `kills=N:SEED` others.

rounds=40
for word in $(cat /proc/cmdline); do
    case $word in kills=*) rounds=${word#kills=} ;; esac
done
case $rounds in *:*) seed=${rounds#*:} ;; *) seed=14 ;; esac
kills "${rounds%%:*}" "$seed" >/tmp/kills.log 2>&1
code=$?
grep -v '^FAULT' /tmp/kills.log | sed 's/^/# /'
check "nothing is lost without a word when an end of a vchan is killed, ${rounds%%:*} times" \
    "$code $(grep '^FAULT' /tmp/kills.log | head -n 5 | tr '\n' ';')" = "0 "
