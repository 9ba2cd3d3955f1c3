package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed" // the template below
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/tillstream/tillstream/connectors/paypal"
	"github.com/tillstream/tillstream/schemas"
)

func init() {
	sources = append(sources, source{
		name: "paypal (RSA)", connector: paypal.Type, prepare: preparePayPal, config: configPayPal, sign: signPayPal, check: checkPayPal,
		body: func(n int) []byte { return sized(payPalTemplate, n) },
	})
}

//go:embed testdata/paypal.json
var payPalTemplate string

const (
	payPalHook        = "9WB0000000000HOOK"
	payPalCertificate = "/v1/notifications/certs/CERT-360caa42-fca2a594-00000001"
)

// preparePayPal makes an authority and a signing certificate, and serves the latter as PayPal would.
func preparePayPal(dir string) (setup, func(), error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	root, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Bench CA"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 2),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "messageverificationcerts.sandbox.paypal.com"}, NotBefore: now.Add(-time.Hour),
		NotAfter: now.AddDate(0, 0, 1), DNSNames: []string{"messageverificationcerts.sandbox.paypal.com"}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, authority, authority, &root.PublicKey, root)
	if err != nil {
		return nil, nil, err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, authority, &key.PublicKey, root)
	if err != nil {
		return nil, nil, err
	}
	trust := filepath.Join(dir, "paypal-trust.pem")
	if err := os.WriteFile(trust, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER}), 0o600); err != nil {
		return nil, nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	page := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leafDER})
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) })}
	go func() { _ = srv.Serve(l) }()
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return setup{
		"key": base64.StdEncoding.EncodeToString(private), "trust": trust, "host": "http://" + l.Addr().String(),
	}, func() { _ = srv.Close() }, nil
}

func (s setup) rsaKey() (*rsa.PrivateKey, error) {
	der, err := base64.StdEncoding.DecodeString(s["key"])
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	return key.(*rsa.PrivateKey), nil
}

func configPayPal(s setup) any {
	return &paypal.Config{
		ClientID: "bench", ClientSecret: schemas.NewSecret("bench-client-secret-of-no-use"), BaseURL: s["host"], WebhookID: payPalHook,
		CertificateHosts: []string{s["host"]}, TrustFile: s["trust"],
	}
}

func payPalText(id, at, hook string, body []byte) [sha256.Size]byte {
	return sha256.Sum256([]byte(id + "|" + at + "|" + hook + "|" + strconv.FormatUint(uint64(crc32.ChecksumIEEE(body)), 10)))
}

func signPayPal(s setup, body []byte, n int, at time.Time) (http.Header, error) {
	key, err := s.rsaKey()
	if err != nil {
		return nil, err
	}
	id, sent := fmt.Sprintf("69cd13f0-d67a-11e5-baa3-%012x", n), at.UTC().Format(time.RFC3339)
	sum := payPalText(id, sent, payPalHook, body)
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return nil, err
	}
	return http.Header{
		"Paypal-Transmission-Id": {id}, "Paypal-Transmission-Time": {sent}, "Paypal-Transmission-Sig": {base64.StdEncoding.EncodeToString(sig)},
		"Paypal-Cert-Url": {s["host"] + payPalCertificate}, "Paypal-Auth-Algo": {"SHA256withRSA"}, "Paypal-Auth-Version": {"v2"},
		"Correlation-Id": {"f00dbabe12345"}, "User-Agent": {"PayPal/AUHR-214.0-58843448"}, "Accept": {"*/*"},
	}, nil
}

func checkPayPal(s setup) (func(http.Header, []byte) bool, error) {
	private, err := s.rsaKey()
	if err != nil {
		return nil, err
	}
	key := &private.PublicKey
	return func(h http.Header, body []byte) bool {
		sig, err := base64.StdEncoding.DecodeString(h.Get("Paypal-Transmission-Sig"))
		sum := payPalText(h.Get("Paypal-Transmission-Id"), h.Get("Paypal-Transmission-Time"), payPalHook, body)
		return err == nil && rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) == nil
	}, nil
}
