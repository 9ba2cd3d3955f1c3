package paypal

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// Names that PayPal's signing certificates carry.
const (
	sandboxName = "messageverificationcerts.sandbox.paypal.com"
	liveName    = "messageverificationcerts.paypal.com"
)

const certPath = "/v1/notifications/certs/"

// A CertKind says what is wrong with the certificate of a signature, or Good.
type CertKind string

// The kinds of certificate that Sign can use.
const (
	Good         CertKind = "good"
	Expired      CertKind = "expired"
	NotYetValid  CertKind = "not-yet-valid"
	WrongName    CertKind = "wrong-name"  // the right authority, a name that is not PayPal's
	OtherWorld   CertKind = "other-world" // the other environment's certificate
	OtherRoot    CertKind = "other-root"  // the right name, an authority that nobody trusts
	SelfSigned   CertKind = "self-signed"
	SHA1         CertKind = "sha1"     // a good certificate, SHA1withRSA in the header
	HTMLPage     CertKind = "html"     // 200 and a page in place of the certificate
	RedirectAway CertKind = "redirect" // 302 to another path
)

// CertKinds lists all kinds, Good first.
var CertKinds = []CertKind{Good, Expired, NotYetValid, WrongName, OtherWorld, OtherRoot, SelfSigned, SHA1, HTMLPage, RedirectAway}

// signer is a leaf certificate under its URL's last element.
type signer struct {
	name string
	key  *rsa.PrivateKey
	pem  []byte // CRLF line ends and no final newline, as PayPal serves it
	page bool   // HTML instead
	away bool   // redirect instead
}

// authority mints certificates: root, intermediate, leaves. Keys are made when first needed; making one takes time.
type authority struct {
	now  func() time.Time
	root *x509.Certificate

	mu       sync.Mutex
	serial   int64
	interKey *rsa.PrivateKey
	inter    *x509.Certificate
	leafKey  *rsa.PrivateKey
	signers  map[string]*signer // by name
	current  map[string]*signer // by environment and kind
}

func newAuthority(now func() time.Time) (*authority, error) {
	a := &authority{now: now, signers: map[string]*signer{}, current: map[string]*signer{}, serial: 1000}
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("root key: %w", err)
	}
	if a.interKey, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return nil, fmt.Errorf("intermediate key: %w", err)
	}
	if a.leafKey, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return nil, fmt.Errorf("leaf key: %w", err)
	}
	root := a.caTemplate("Tillstream Simulator Root CA", false)
	if a.root, err = a.issue(root, root, rootKey.Public(), rootKey); err != nil {
		return nil, err
	}
	a.inter, err = a.issue(a.caTemplate("Tillstream Simulator Server CA", true), a.root, a.interKey.Public(), rootKey)
	return a, err
}

func (a *authority) caTemplate(name string, last bool) *x509.Certificate {
	now := a.now()
	return &x509.Certificate{
		Subject:   pkix.Name{Organization: []string{"Tillstream Simulator"}, CommonName: name},
		NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(20, 0, 0), IsCA: true, BasicConstraintsValid: true,
		MaxPathLenZero: last, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

// leafTemplate has PayPal's own fields: EV subject, two years, server and client authentication.
func (a *authority) leafTemplate(name string) *x509.Certificate {
	now := a.now()
	return &x509.Certificate{
		Subject: pkix.Name{
			Country: []string{"US"}, Province: []string{"California"}, Locality: []string{"San Jose"},
			Organization: []string{"PayPal, Inc. (simulated)"}, OrganizationalUnit: []string{"Partner Support"}, CommonName: name,
		},
		DNSNames: []string{name}, NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(2, -1, 0), BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

func (a *authority) issue(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	a.serial++
	template.SerialNumber = big.NewInt(a.serial)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", template.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}

func (a *authority) trustPEM() []byte { return append(pemOf(a.root), pemOf(a.inter)...) }

func (a *authority) tlsLeaf() (tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("server key: %w", err)
	}
	t := a.leafTemplate("localhost")
	t.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	leaf, err := a.issue(t, a.inter, key.Public(), a.interKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw, a.inter.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// signer returns the current certificate of that kind, and makes it on first use.
func (a *authority) signer(env schemas.Environment, kind CertKind) (*signer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := string(env) + "/" + string(kind)
	if s := a.current[id]; s != nil {
		return s, nil
	}
	s, err := a.mint(env, kind)
	if err != nil {
		return nil, err
	}
	a.current[id], a.signers[s.name] = s, s
	return s, nil
}

// rotate forgets the current certificates: the next signature is made under a new URL. The old ones stay served.
func (a *authority) rotate() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.current)
}

func (a *authority) mint(env schemas.Environment, kind CertKind) (*signer, error) {
	name, other := sandboxName, liveName
	if env == schemas.Live {
		name, other = liveName, sandboxName
	}
	now := a.now()
	t := a.leafTemplate(name)
	parent, key := a.inter, crypto.Signer(a.interKey)
	switch kind {
	case Expired:
		t.NotBefore, t.NotAfter = now.AddDate(-2, 0, 0), now.AddDate(0, 0, -1)
	case NotYetValid:
		t.NotBefore, t.NotAfter = now.AddDate(0, 0, 1), now.AddDate(2, 0, 0)
	case WrongName:
		t = a.leafTemplate("messageverificationcerts.paypal.com.example.com")
	case OtherWorld:
		t = a.leafTemplate(other)
	case SelfSigned:
		parent, key = t, a.leafKey
	case OtherRoot:
		stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("foreign key: %w", err)
		}
		top := a.caTemplate("Tillstream Simulator Server CA", true)
		if parent, err = a.issue(top, top, stranger.Public(), stranger); err != nil {
			return nil, err
		}
		key = stranger
	}
	leaf, err := a.issue(t, parent, a.leafKey.Public(), key)
	if err != nil {
		return nil, err
	}
	text := bytes.TrimRight(pemOf(leaf), "\n")
	return &signer{
		name: fmt.Sprintf("CERT-360caa42-fca2a594-%08x", uint32(a.serial)*2654435761), key: a.leafKey,
		pem: bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")), page: kind == HTMLPage, away: kind == RedirectAway,
	}, nil
}

func (a *authority) find(name string) *signer {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.signers[name]
}

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}
