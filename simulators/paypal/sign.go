package paypal

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"net/http"
	"strconv"
	"time"

	"github.com/tillstream/tillstream/schemas"
)

// mockWebhookID is what PayPal's own simulator signs with, whatever webhook it sends to.
const mockWebhookID = "WEBHOOK_ID"

// Sign returns the headers of a first delivery of body to that webhook, signed under a certificate of that kind.
func (s *Server) Sign(env schemas.Environment, kind CertKind, webhookID string, body []byte) (http.Header, error) {
	s.mu.Lock()
	id, at, correlation := s.transmission(), s.o.Now().UTC().Format(time.RFC3339), s.hex(13)
	s.mu.Unlock()
	return s.sign(env, kind, webhookID, id, at, correlation, body)
}

func (s *Server) sign(env schemas.Environment, kind CertKind, webhookID, id, at, correlation string, body []byte) (http.Header, error) {
	signer, err := s.ca.signer(env, kind)
	if err != nil {
		return nil, err
	}
	text := []byte(signedText(id, at, webhookID, body))
	algo, hash, sum := "SHA256withRSA", crypto.SHA256, []byte(nil)
	if kind == SHA1 {
		d := sha1.Sum(text)
		algo, hash, sum = "SHA1withRSA", crypto.SHA1, d[:]
	} else {
		d := sha256.Sum256(text)
		sum = d[:]
	}
	sig, err := rsa.SignPKCS1v15(rand.Reader, signer.key, hash, sum)
	if err != nil {
		return nil, fmt.Errorf("sign transmission %s: %w", id, err)
	}
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("Paypal-Transmission-Id", id)
	h.Set("Paypal-Transmission-Time", at)
	h.Set("Paypal-Transmission-Sig", base64.StdEncoding.EncodeToString(sig))
	h.Set("Paypal-Cert-Url", s.URL()+certPath+signer.name)
	h.Set("Paypal-Auth-Algo", algo)
	h.Set("Paypal-Auth-Version", "v2")
	h.Set("Correlation-Id", correlation)
	h.Set("User-Agent", "PayPal/AUHD-214.0-58843824")
	h.Set("Accept", "*/*")
	return h, nil
}

// signedText is what PayPal signs; the checksum is unsigned, decimal and of the raw body.
func signedText(id, at, webhookID string, body []byte) string {
	return id + "|" + at + "|" + webhookID + "|" + strconv.FormatUint(uint64(crc32.ChecksumIEEE(body)), 10)
}

// Rotate makes the next signatures come with a new certificate under a new URL.
func (s *Server) Rotate() { s.ca.rotate() }

// transmission returns a version 1 UUID of now. s.mu is held.
func (s *Server) transmission() string {
	const gregorian = 0x01B21DD213814000 // 1582-10-15 to 1970, in 100 ns
	t := s.o.Now().UnixNano()/100 + gregorian
	if t <= s.lastUUID {
		t = s.lastUUID + 1
	}
	s.lastUUID = t
	return fmt.Sprintf("%08x-%04x-%04x-81c2-77339302725b", uint32(t), uint16(t>>32), uint16(t>>48)&0x0fff|0x1000)
}

const idLetters = "0123456789ABCDEFGHJKLMNPRSTUVWXY"

// id returns n letters as PayPal's ids have them. s.mu is held.
func (s *Server) id(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = idLetters[s.random.IntN(len(idLetters))]
	}
	return string(b)
}

// hex returns n hexadecimal digits. s.mu is held.
func (s *Server) hex(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = "0123456789abcdef"[s.random.IntN(16)]
	}
	return string(b)
}

func (s *Server) serveCert(w http.ResponseWriter, r *http.Request) {
	c := s.ca.find(r.PathValue("name"))
	switch {
	case c == nil:
		s.fail(w, http.StatusNotFound, "RESOURCE_NOT_FOUND", "The specified resource does not exist.")
	case c.away:
		http.Redirect(w, r, certPath+"elsewhere", http.StatusFound)
	case c.page:
		w.Header().Set("Content-Type", "text/html;charset=UTF-8")
		fmt.Fprint(w, "<!DOCTYPE html><html><body>We are sorry, something went wrong.</body></html>")
	default:
		w.Header().Set("Content-Type", "application/x-pem-file")
		w.Header().Set("Cache-Control", "public,max-age=86400")
		w.Write(c.pem)
	}
}
