package generic

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// event is one change of an order, before it is put into an envelope.
type event struct {
	id, typ  string
	at       time.Time
	sequence int64
	data     any
}

type customer struct {
	Email     string `json:"email,omitempty"`
	FirstName string `json:"first_name,omitempty"`
	LastName  string `json:"last_name,omitempty"`
	Phone     string `json:"phone,omitempty"`
}

type item struct {
	Name     string `json:"name"`
	Quantity int    `json:"quantity"`
	Price    string `json:"price"`
}

// proposed is the data that Tillstream proposes.
type proposed struct {
	OrderID        string    `json:"order_id"`
	OrderNumber    string    `json:"order_number"`
	Status         string    `json:"status"`
	OccurredAt     time.Time `json:"occurred_at"`
	CreatedAt      time.Time `json:"created_at"`
	Version        int64     `json:"version"`
	Amount         string    `json:"amount"`
	AmountRefunded string    `json:"amount_refunded"`
	Currency       string    `json:"currency"`
	Customer       customer  `json:"customer"`
	Items          []item    `json:"items"`
}

// eventOf tells the order as it stands. s.mu is held.
func (s *Server) eventOf(x *order) event {
	e := event{id: s.letters(12), typ: "order.status_changed", at: x.changed, sequence: x.version}
	if !s.o.OwnWords {
		e.data = proposed{
			OrderID: x.id, OrderNumber: "#" + x.id, Status: s.word(x.state), OccurredAt: x.changed, CreatedAt: x.created, Version: x.version,
			Amount: x.total.Text(), AmountRefunded: x.refunded.Text(), Currency: string(x.total.Currency),
			Customer: customer{x.Email, x.GivenName, x.Surname, x.Phone}, Items: []item{{x.Product, 1, x.total.Text()}},
		}
		return e
	}
	e.typ = "bestellung.geaendert"
	e.data = map[string]any{
		"bestellung": map[string]any{
			"nr": x.id, "stand": s.word(x.state), "geaendert": x.changed.UnixMilli(), "fassung": x.version,
			"summe":     map[string]any{"brutto": x.total.Text(), "erstattet": x.refunded.Text(), "waehrung": string(x.total.Currency)},
			"artikel":   []map[string]any{{"titel": x.Product, "menge": 1}},
			"lieferung": "Paket",
		},
		"kunde": map[string]any{"mail": x.Email, "vorname": x.GivenName, "nachname": x.Surname, "telefon": x.Phone},
	}
	return e
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// letters makes an id. s.mu is held.
func (s *Server) letters(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[s.random.IntN(len(alphabet))]
	}
	return string(b)
}

const source = "/shops/simulated"

// cloud is the event as structured JSON.
func (e event) cloud() map[string]any {
	return map[string]any{
		"specversion": "1.0", "id": e.id, "source": source, "type": e.typ, "time": e.at.Format(time.RFC3339Nano), "subject": "order",
		"sequence": fmt.Sprintf("%012d", e.sequence), "datacontenttype": "application/json", "data": e.data,
	}
}

// seal puts events into their envelope: the body, and the headers that say what it is.
func (s *Server) seal(events []event) (body []byte, header http.Header, err error) {
	e := events[0]
	header = http.Header{}
	var v any
	switch s.o.Envelope {
	case Plain:
		header.Set("Content-Type", "application/json")
		name := "type"
		if s.o.OwnWords {
			name = "ereignis"
		}
		v = map[string]any{name: e.typ, "timestamp": e.at.Format(time.RFC3339Nano), "data": e.data}
	case Structured:
		header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
		v = e.cloud()
	case Batch:
		header.Set("Content-Type", "application/cloudevents-batch+json")
		list := make([]map[string]any, len(events))
		for i := range events {
			list[i] = events[i].cloud()
		}
		v = list
	case Binary:
		header.Set("Content-Type", "application/json")
		for name, value := range e.cloud() {
			if text, ok := value.(string); ok && name != "datacontenttype" {
				header.Set("ce-"+name, percentEncoded(text))
			}
		}
		v = e.data
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), header, nil
}

// percentEncoded is CloudEvents' form of a header's value.
func percentEncoded(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c < '!' || c > '~' || c == '"' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// sign returns the headers of one attempt: the time is the attempt's.
func (s *Server) sign(header http.Header, id string, at time.Time, body []byte) {
	seconds := strconv.FormatInt(at.Unix(), 10)
	content := append([]byte(id+"."+seconds+"."), body...)
	var signatures []string
	for _, key := range s.keys {
		mac := hmac.New(sha256.New, key)
		mac.Write(content)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	if s.o.PrivateKey != nil {
		signatures = append(signatures, "v1a,"+base64.StdEncoding.EncodeToString(ed25519.Sign(s.o.PrivateKey, content)))
	}
	header.Set("webhook-id", id)
	header.Set("webhook-timestamp", seconds)
	header.Set("webhook-signature", strings.Join(signatures, " "))
}
