package outbound

import (
	"fmt"
	"net/netip"
	"syscall"
)

// never lists what no configuration may reach: the cloud metadata services and ranges that are no host at all.
var never = prefixes(
	"0.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "100.100.100.200/32", "192.0.0.192/32", "224.0.0.0/4", "240.0.0.0/4",
	"::/128", "fe80::/10", "ff00::/8", "fd00:ec2::254/128", "fd20:ce::254/128",
)

// inside lists what is reached with AllowPrivate only: RFC 6890's ranges that are not the public internet.
var inside = prefixes(
	"10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16",
	"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
	"::1/128", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "fc00::/7", "fec0::/10",
)

// carriers hold an IPv4 address inside an IPv6 one; the number is its offset in bytes. NAT64, 6to4, IPv4-compatible.
var carriers = []struct {
	prefix netip.Prefix
	offset int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},
	{netip.MustParsePrefix("2002::/16"), 2},
	{netip.MustParsePrefix("::/96"), 12},
}

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// guard returns a net.Dialer.Control: it sees the address after DNS, for each try, so that neither a rebinding
// resolver nor an unusual spelling of an address gets past it.
func guard(allowPrivate bool) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %s", ErrAddress, address)
		}
		if !allowed(at.Addr(), allowPrivate) {
			return fmt.Errorf("%w: %s", ErrAddress, at.Addr())
		}
		return nil
	}
}

func allowed(addr netip.Addr, allowPrivate bool) bool {
	addr = addr.Unmap().WithZone("")
	if within(addr, never) || !allowPrivate && within(addr, inside) {
		return false
	}
	if addr.Is4() || allowPrivate && addr.IsLoopback() {
		return true
	}
	for _, c := range carriers {
		if c.prefix.Contains(addr) {
			b := addr.As16()
			return allowed(netip.AddrFrom4([4]byte(b[c.offset:c.offset+4])), allowPrivate)
		}
	}
	return true
}

func within(addr netip.Addr, list []netip.Prefix) bool {
	for _, p := range list {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
