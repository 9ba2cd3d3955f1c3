package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/rs/zerolog"

	"github.com/tillstream/tillstream/api"
	"github.com/tillstream/tillstream/pipeline/access"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/config"
	"github.com/tillstream/tillstream/pipeline/kafka"
)

// AccessPart is the part of the board that knows who may do what.
const AccessPart = "access"

// openManagement opens the operators' port. Until users are read from Kafka it answers only what is nobody's.
func (p *process) openManagement() (net.Listener, error) {
	m := p.Config.Settings.Management
	var secure *tls.Config
	if m.TLS != (config.ManagementTLS{}) {
		pair, err := tls.LoadX509KeyPair(m.TLS.Cert, m.TLS.Key)
		if err != nil {
			return nil, fmt.Errorf("management.tls: %w; name the files of a certificate and its key, in PEM", err)
		}
		secure = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}
	}
	l, err := api.Listen(m.Listen, m.AllowRemote || secure != nil)
	if err != nil {
		return nil, err
	}
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	hosts := slices.Clone(m.Hosts)
	if host, _, err := net.SplitHostPort(m.Listen); err == nil && host != "" {
		hosts = append(hosts, host)
	}
	p.board.SetHosts(hosts)
	p.board.SetAccess(p.accessOf(nil, nil))
	return l, nil
}

func (p *process) accessOf(store *access.Store, trail *access.Trail) api.Access {
	m := p.Config.Settings.Management
	return api.Access{
		Store: store, Trail: trail, Local: m.AllowRemote || api.Loopback(m.Listen), Secure: m.TLS != (config.ManagementTLS{}), Environments: p.environments,
	}
}

// environments are those of the configured connections.
func (p *process) environments() []string {
	c := p.Config
	if p.Desk != nil {
		if now, err := p.Desk.Load(); err == nil {
			c = now
		}
	}
	out := []string{}
	for _, x := range c.Connections {
		if e := string(x.Environment); !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	slices.Sort(out)
	return out
}

// errNoUsers ends a start that would leave the port to whoever reaches it.
var errNoUsers = errors.New("the port is reachable from other machines and there is no user: make the first one with 'tillstream users add NAME --role admin --config DIR', which writes to Kafka, then start again; or use a loopback address")

// startAccess follows who may do what. A port that other machines reach is refused without a user.
func (p *process) startAccess(ctx context.Context) error {
	o := access.Options{Log: p.cluster, Encode: p.codec.Encode, Decode: p.codec.Decode, Lines: p.Log}
	store, trail := access.New(o), access.NewTrail(o)
	if err := p.await(ctx, "users and tokens", store.CatchUp); err != nil {
		return err
	}
	a := p.accessOf(store, trail)
	listen := p.Config.Settings.Management.Listen
	switch {
	case !a.Local && !store.HasUsers():
		return fmt.Errorf("management.listen %q: %w", listen, errNoUsers)
	case !store.HasUsers() && !api.Loopback(listen):
		p.Log.Warn().Str("listen", listen).Msg("management.allow_remote is set and there is no user: whoever reaches the management port may do everything")
	}
	p.board.Add(api.Part{Name: AccessPart, Ready: store.Ready})
	p.board.SetAccess(a)
	p.group.Go(func() error { store.Run(ctx); return nil })
	return nil
}

// Keys is access beside the processes: users and tokens as commands change them.
type Keys struct {
	Store *access.Store
	Trail *access.Trail

	close func()
}

// OpenKeys reaches the schema registry and Kafka, makes the two topics where they are missing, and reads users and tokens.
// The caller closes it.
func OpenKeys(ctx context.Context, k kafka.Options, r config.Registry, lines zerolog.Logger) (*Keys, error) {
	ctx, cancel := context.WithTimeout(ctx, decisionsTimeout)
	defer cancel()
	c, err := openCodec(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := kafka.EnsureTopics(ctx, k, kafka.AccessTopics(k)); err != nil {
		return nil, fmt.Errorf("kafka at %v: %w", k.Brokers, err)
	}
	cluster, err := kafka.NewCluster(k, clock.System(), lines)
	if err != nil {
		return nil, err
	}
	o := access.Options{Log: cluster, Encode: c.Encode, Decode: c.Decode, Lines: lines}
	keys := &Keys{Store: access.New(o), Trail: access.NewTrail(o), close: cluster.Close}
	if err := keys.Store.CatchUp(ctx); err != nil {
		keys.Close()
		return nil, fmt.Errorf("kafka at %v is not reached: %w", k.Brokers, err)
	}
	return keys, nil
}

// Close ends what OpenKeys opened.
func (k *Keys) Close() { k.close() }
