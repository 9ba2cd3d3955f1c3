package ingest

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Limits bound the work that requests make which fail. They are token buckets: a request is refused unread (429) where
// its address, or its connection, has used up its failures; each second brings some back. What has used them up is also
// answered late, which costs a sender of many more than it costs us.
//
// Nobody genuine is locked out for good by others. An address from which the connection had a genuine delivery within
// the last hour is never refused unread, however much else comes from it, since behind a proxy all may have one address:
// there only the failures are answered late. One that was refused before it could show a genuine delivery is let in
// again by the failures that come back each second: beside a flood of 20,000 a second from its own address, after some
// seconds to minutes of a provider's usual rate, and a provider sends again for hours. List the proxies in
// Options.TrustedProxies, and each sender has an address of his own.
type Limits struct {
	// AddressBurst failures are free for one address (IPv4, or a /64 of IPv6), and AddressPerSecond more each second. A
	// zero means the default: 100 and 10.
	AddressBurst, AddressPerSecond float64
	// ConnectionBurst and ConnectionPerSecond are the same for all unknown addresses of one connection together: 2,000 and 500.
	ConnectionBurst, ConnectionPerSecond float64
}

const (
	addressBurstDefault        = 100
	addressPerSecondDefault    = 10
	connectionBurstDefault     = 2000
	connectionPerSecondDefault = 500
	// addressesMax bounds the addresses that are remembered for failures, and again those for genuine deliveries, which
	// nobody can fill without a signature.
	addressesMax = 16_384
	// genuineFor is how long one genuine delivery keeps its address from being refused unread.
	genuineFor = time.Hour
	// Costs of a failure. "Cannot tell now" costs little: it is our trouble as often as the sender's.
	costForged       = 1
	costUnverifiable = .1
	hopsMax          = 20 // of X-Forwarded-For that are looked at
	// lateBy is how late the answer to a failure comes, once there are too many. A waiting one holds its connection, as an
	// idle one would, and nothing else; above lateMax of them the others are answered at once.
	lateBy  = 250 * time.Millisecond
	lateMax = 1024
)

func (l Limits) orDefaults() Limits {
	for _, f := range []struct {
		v   *float64
		def float64
	}{
		{&l.AddressBurst, addressBurstDefault},
		{&l.AddressPerSecond, addressPerSecondDefault},
		{&l.ConnectionBurst, connectionBurstDefault},
		{&l.ConnectionPerSecond, connectionPerSecondDefault},
	} {
		if *f.v <= 0 {
			*f.v = f.def
		}
	}
	return l
}

// bucket holds what is left of an allowance, as of a time.
type bucket struct {
	left float64
	at   time.Time
}

// now brings b up to date.
func (b bucket) now(t time.Time, burst, perSecond float64) bucket {
	if d := t.Sub(b.at); d > 0 {
		b.left, b.at = min(burst, b.left+perSecond*d.Seconds()), t
	}
	return b
}

// sender is one address at one connection.
type sender struct {
	connection string
	address    netip.Addr
}

// guard counts failures by address and by connection.
type guard struct {
	limits Limits

	mu          sync.Mutex
	addresses   *recent[netip.Addr, bucket]
	connections *recent[string, bucket]
	genuine     *recent[sender, time.Time]
}

func newGuard(l Limits) *guard {
	return &guard{
		limits: l.orDefaults(), addresses: newRecent[netip.Addr, bucket](addressesMax),
		connections: newRecent[string, bucket](addressesMax), genuine: newRecent[sender, time.Time](addressesMax),
	}
}

// admits reports whether a request may be read.
func (g *guard) admits(s sender, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known(s, now) {
		return true
	}
	if b, ok := g.addresses.get(s.address); ok && b.now(now, g.limits.AddressBurst, g.limits.AddressPerSecond).left < 1 {
		return false
	}
	b, ok := g.connections.get(s.connection)
	return !ok || b.now(now, g.limits.ConnectionBurst, g.limits.ConnectionPerSecond).left >= 1
}

func (g *guard) known(s sender, now time.Time) bool {
	at, ok := g.genuine.get(s)
	return ok && now.Sub(at) < genuineFor
}

// failed notes a request that cost work for nothing. first says that it was the address's last for now, late that those
// were used up before.
func (g *guard) failed(s sender, cost float64, now time.Time) (first, late bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b, ok := g.addresses.get(s.address)
	if !ok {
		b = bucket{g.limits.AddressBurst, now}
	}
	b = b.now(now, g.limits.AddressBurst, g.limits.AddressPerSecond)
	late = b.left < 1
	first = !late && b.left-cost < 1
	b.left = max(0, b.left-cost)
	g.addresses.put(s.address, b)
	if g.known(s, now) {
		return first, late // its failures are not to use up those of unknown addresses
	}
	c, ok := g.connections.get(s.connection)
	if !ok {
		c = bucket{g.limits.ConnectionBurst, now}
	}
	c = c.now(now, g.limits.ConnectionBurst, g.limits.ConnectionPerSecond)
	c.left = max(0, c.left-cost)
	g.connections.put(s.connection, c)
	return first, late
}

// delivered notes a genuine delivery.
func (g *guard) delivered(s sender, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.genuine.put(s, now)
}

// clientAddress is who sent r: the peer, or, where that is a trusted proxy, the last hop of X-Forwarded-For that is
// none. Hops before it are the sender's own words. IPv6 addresses are cut to their /64, which one sender has whole.
func clientAddress(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // no network: all such requests count as one sender
	}
	from := peer.Addr().Unmap().WithZone("")
	if len(trusted) > 0 && holds(trusted, from) {
		from = forwarded(r.Header.Values("X-Forwarded-For"), trusted, from)
	}
	if from.Is6() {
		if p, err := from.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return from
}

func forwarded(values []string, trusted []netip.Prefix, from netip.Addr) netip.Addr {
	hops := 0
	for i := len(values) - 1; i >= 0; i-- {
		for rest := values[i]; rest != "" && hops < hopsMax; hops++ {
			at := strings.LastIndexByte(rest, ',')
			hop, err := netip.ParseAddr(strings.TrimSpace(rest[at+1:]))
			if err != nil {
				return from
			}
			if from = hop.Unmap().WithZone(""); !holds(trusted, from) {
				return from
			}
			rest = rest[:max(at, 0)]
		}
	}
	return from
}

func holds(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// network is an address as far as a log may tell it.
func network(a netip.Addr) string {
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return "unknown"
	}
	return p.String()
}
