package paypal

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/money"
	"github.com/tillstream/tillstream/schemas/strictjson"
)

// object is a decoded JSON object. PayPal leaves members out freely, so that absence is normal; only money and times are
// read with an error.
type object = strictjson.Object

// amount reads money in either shape: v2 {currency_code, value}, v1 {currency, total} or {currency, value}. Nil where
// there is none; a text that is no decimal is an error naming the field. currency serves where the shape leaves it out.
func amountOf(o object, field, currency string, path ...string) (*schemas.Amount, error) {
	v := o.At(path...)
	if v == nil {
		return nil, nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: not an amount of money", field)
	}
	part := object(m)
	value := cmp.Or(part.Text("value"), part.Text("total"))
	if value == "" && !part.Has("value") && !part.Has("total") {
		return nil, nil
	}
	a := schemas.Amount{Value: value, Currency: strings.ToUpper(cmp.Or(part.Text("currency_code"), part.Text("currency"), currency))}
	if err := money.Check(a.Value, a.Currency); err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	return &a, nil
}

// timeLayouts are the forms seen in PayPal's bodies; Go's parser takes fractions of a second after each.
var timeLayouts = []string{time.RFC3339, "2006-01-02T15:04:05-0700", "2006-01-02T15:04:05"}

// Years outside are typing errors, and no store behind us could hold them.
const yearMin, yearMax = 1970, 2299

// parseTime reads any form that PayPal writes; without a zone it is UTC. Millisecond precision.
func parseTime(text string) (time.Time, error) {
	for _, layout := range timeLayouts {
		t, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		t = t.UTC().Truncate(time.Millisecond)
		if t.Year() < yearMin || t.Year() > yearMax {
			break
		}
		return t, nil
	}
	return time.Time{}, fmt.Errorf("%.60q is no possible date and time", text)
}

// time reads a moment; zero where there is none, an error naming the field where it is impossible.
func timeOf(o object, field, name string) (time.Time, error) {
	v, ok := o[name]
	if !ok || v == nil || v == "" {
		return time.Time{}, nil
	}
	text, ok := v.(string)
	if !ok {
		return time.Time{}, fmt.Errorf("%s: not a date and time", field)
	}
	t, err := parseTime(text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", field, err)
	}
	return t, nil
}

// relationOf tells what a HATEOAS path names, and its id. An action's path has one more segment, so that the link to
// capture an order is never taken for a capture.
func relationOf(path string) (rel schemas.LinkRelation, id string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		if rest, ok = strings.CutPrefix(path, "/v1/"); !ok {
			return "", "", false
		}
	}
	end := strings.LastIndexByte(rest, '/')
	if end < 0 {
		return "", "", false
	}
	rel, ok = relations[rest[:end]]
	return rel, rest[end+1:], ok && checkID("", rest[end+1:]) == nil
}

// linkRefund is what the path of a refund says of itself; no event is linked to a refund.
const linkRefund schemas.LinkRelation = "REFUND"

var relations = map[string]schemas.LinkRelation{
	"checkout/orders": schemas.LinkOrder, "payments/orders": schemas.LinkOrder,
	"payments/authorization": schemas.LinkAuthorization, "payments/authorizations": schemas.LinkAuthorization,
	"payments/capture": schemas.LinkCapture, "payments/captures": schemas.LinkCapture,
	"payments/sale": schemas.LinkSale, "billing/subscriptions": schemas.LinkSubscription,
	"payments/refund": linkRefund, "payments/refunds": linkRefund,
}

// pathOf is the path of an address, unescaped. Hosts are not looked at: PayPal prints old and internal ones.
func pathOf(href string) string {
	if _, rest, ok := strings.Cut(href, "://"); ok && !strings.ContainsAny(href, "%\\?#") {
		if at := strings.IndexByte(rest, '/'); at >= 0 {
			return rest[at:]
		}
		return ""
	}
	u, err := url.Parse(href)
	if err != nil {
		return ""
	}
	return u.Path
}

// parentsOf are the entities that the links of a resource say it belongs to.
func parentsOf(o object) []schemas.Link {
	var out []schemas.Link
	list, _ := o["links"].([]any)
	for _, e := range list {
		m, _ := e.(map[string]any)
		l := object(m)
		switch l.Text("rel") {
		case "up", "order", "authorization", "capture", "sale":
		default:
			continue
		}
		if rel, id, ok := relationOf(pathOf(l.Text("href"))); ok && rel != linkRefund {
			out = append(out, schemas.Link{Relation: rel, ID: id})
		}
	}
	return out
}

// idBytesMax bounds an id; real ones have at most 40 characters and are opaque.
const idBytesMax = 128

func checkID(field, id string) error {
	if id == "" {
		return fmt.Errorf("%s: missing", field)
	}
	if id == "." || id == ".." || len(id) > idBytesMax || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("%s: %.40q is no id", field, id)
	}
	return nil
}
