# dom0 and a second domain of type $type: what each grants, the other maps.
start_domain "$type" || return 0
there 'mini --version'
check "mini runs in a $type domain" "$code $output" = "0 $(mini --version)"
stop_domain
