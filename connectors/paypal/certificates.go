package paypal

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	neturl "net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/tillstream/tillstream/schemas"
)

const (
	certificatesMax       = 16
	certificateBytesMax   = 64 << 10
	certificateChainMax   = 8
	certificateKeyBitsMin = 2048
	certificateTTL        = 24 * time.Hour // as PayPal's Cache-Control says
	certificateFailTTL    = 10 * time.Second
	certificateTimeout    = 2 * time.Second
	// A flood of invented URLs may not make us fetch more than one a second, after a short burst.
	certificatesPerSecond = 1
	certificateBurst      = 3
)

// Names of PayPal's signing certificates.
const (
	liveName    = "messageverificationcerts.paypal.com"
	sandboxName = "messageverificationcerts.sandbox.paypal.com"
)

// A certificate is one whose chain and name were found good.
type certificate struct {
	key         *rsa.PublicKey
	environment schemas.Environment
	from, until time.Time // the time in which every certificate of the chain is valid
}

// refusal says that what was fetched is a certificate, and not one of PayPal's: the request is forged.
type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

// certificates fetches signing certificates, once each.
type certificates struct {
	origins              []string // "https://host", to the byte
	roots, intermediates *x509.CertPool
	client               *http.Client
	now                  func() time.Time

	flight  singleflight.Group
	limiter *rate.Limiter
	mu      sync.Mutex
	good    map[string]cached
	bad     map[string]cached
	newest  *certificate // of those that signed a delivery, the one that is valid for longest
}

type cached struct {
	cert  *certificate
	err   error
	until time.Time
	used  time.Time
}

func newCertificates(origins []string, roots, intermediates *x509.CertPool, client *http.Client, now func() time.Time) *certificates {
	careful := *client
	careful.Timeout = certificateTimeout
	careful.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	careful.Jar = nil
	return &certificates{
		origins: origins, roots: roots, intermediates: intermediates, client: &careful, now: now,
		limiter: rate.NewLimiter(certificatesPerSecond, certificateBurst),
		good:    map[string]cached{}, bad: map[string]cached{},
	}
}

var certificatePath = regexp.MustCompile(`^/v1/notifications/certs/[A-Za-z0-9_-]{1,128}$`)

// allowed compares bytes and parses nothing: no two readers of the URL can disagree about its host.
func (c *certificates) allowed(url string) bool {
	for _, o := range c.origins {
		if path, ok := strings.CutPrefix(url, o); ok && certificatePath.MatchString(path) {
			return true
		}
	}
	return false
}

// get returns the certificate at url, which must be allowed. A *refusal means forged; any other error means that it
// cannot be told now.
func (c *certificates) get(ctx context.Context, url string) (*certificate, error) {
	if cert, err, ok := c.lookup(url); ok {
		return cert, err
	}
	// The fetch outlives the request that asked for it: another one may wait for the same certificate.
	done := c.flight.DoChan(url, func() (any, error) {
		if cert, err, ok := c.lookup(url); ok {
			return cert, err
		}
		if !c.limiter.AllowN(c.now(), 1) {
			return (*certificate)(nil), errors.New("too many different certificates asked for")
		}
		cert, err := c.fetch(context.WithoutCancel(ctx), url)
		if old := c.stale(url, err); old != nil {
			cert, err = old, nil
		}
		c.store(url, cert, err)
		return cert, err
	})
	select {
	case r := <-done:
		return r.Val.(*certificate), r.Err
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the certificate: %w", ctx.Err())
	}
}

// trusted notes a certificate that signed a delivery to this connection.
func (c *certificates) trusted(cert *certificate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.newest == nil || cert.until.After(c.newest.until) {
		c.newest = cert
	}
}

// inUse is the newest certificate that signed a delivery; nil: none came yet.
func (c *certificates) inUse() *certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.newest
}

func (c *certificates) lookup(url string) (*certificate, error, bool) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.good[url]; ok && now.Before(e.until) {
		e.used = now
		c.good[url] = e
		return e.cert, nil, true
	}
	if e, ok := c.bad[url]; ok && now.Before(e.until) {
		return nil, e.err, true
	}
	return nil, nil, false
}

// stale is the certificate known before, where a fetch failed without saying that it is bad: an outage of the
// certificate's host stops nothing.
func (c *certificates) stale(url string, err error) *certificate {
	if refused := (*refusal)(nil); err == nil || errors.As(err, &refused) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.good[url]; ok && c.now().Before(e.cert.until) {
		return e.cert
	}
	return nil
}

// store keeps failures apart from certificates, so that invented URLs push no good one out.
func (c *certificates) store(url string, cert *certificate, err error) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		keep(c.bad, url, cached{err: err, until: now.Add(certificateFailTTL), used: now})
		return
	}
	delete(c.bad, url)
	keep(c.good, url, cached{cert: cert, until: now.Add(certificateTTL), used: now})
}

// keep adds an entry and drops the one unused for longest when there are too many.
func keep(m map[string]cached, url string, e cached) {
	m[url] = e
	for len(m) > certificatesMax {
		oldest := ""
		for k, v := range m {
			if k != url && (oldest == "" || v.used.Before(m[oldest].used) || v.used.Equal(m[oldest].used) && k < oldest) {
				oldest = k
			}
		}
		delete(m, oldest)
	}
}

func (c *certificates) fetch(ctx context.Context, url string) (*certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, certificateTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := c.client.Do(req)
	if err != nil {
		if outer := (*neturl.Error)(nil); errors.As(err, &outer) {
			err = outer.Err // without the address: it came with the request
		}
		return nil, fmt.Errorf("fetch certificate: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch certificate: status %d", res.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, certificateBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("fetch certificate: %w", err)
	}
	if len(data) > certificateBytesMax {
		return nil, fmt.Errorf("fetch certificate: more than %d bytes", certificateBytesMax)
	}
	return c.read(data)
}

// read takes the first PEM block as the leaf and the rest as intermediates, which prove nothing by themselves.
func (c *certificates) read(data []byte) (*certificate, error) {
	intermediates := c.intermediates.Clone()
	var leaf *x509.Certificate
	for n := 0; n < certificateChainMax; n++ {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse certificate: %w", err)
		}
		if leaf == nil {
			leaf = cert
		} else {
			intermediates.AddCert(cert)
		}
	}
	if leaf == nil {
		return nil, errors.New("parse certificate: no PEM in the answer")
	}
	return c.judge(leaf, intermediates)
}

func (c *certificates) judge(leaf *x509.Certificate, intermediates *x509.CertPool) (*certificate, error) {
	key, ok := leaf.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, &refusal{"certificate has no RSA key"}
	}
	if key.N.BitLen() < certificateKeyBitsMin {
		return nil, &refusal{fmt.Sprintf("certificate's key has %d bits", key.N.BitLen())}
	}
	if leaf.IsCA {
		return nil, &refusal{"certificate is an authority's"}
	}
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return nil, &refusal{"certificate is not for signatures"}
	}
	env, ok := environmentOf(leaf)
	if !ok {
		return nil, &refusal{"certificate is not in PayPal's name"}
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: c.roots, Intermediates: intermediates, CurrentTime: c.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, &refusal{"certificate chain: " + err.Error()}
	}
	cert := &certificate{key: key, environment: env, from: leaf.NotBefore, until: leaf.NotAfter}
	for _, link := range chains[0] {
		if k, ok := link.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() < certificateKeyBitsMin {
			return nil, &refusal{"certificate chain: a key is too short"}
		}
		if link.NotBefore.After(cert.from) {
			cert.from = link.NotBefore
		}
		if link.NotAfter.Before(cert.until) {
			cert.until = link.NotAfter
		}
	}
	return cert, nil
}

// environmentOf reads the name: SAN where there is one, else CN, exactly one of the two known names.
func environmentOf(leaf *x509.Certificate) (schemas.Environment, bool) {
	names := leaf.DNSNames
	if len(names) == 0 {
		names = []string{leaf.Subject.CommonName}
	}
	for _, n := range names {
		switch n {
		case liveName:
			return schemas.Live, true
		case sandboxName:
			return schemas.Sandbox, true
		}
	}
	return "", false
}
