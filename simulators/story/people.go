package story

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// person is an invented customer.
type person struct {
	given, surname, email, payerID   string
	country, street, city, zip, code string // code: state
	currency, phone                  string
}

// returning is the share of roots that belong to somebody who came before.
const returning = 0.4

var places = []struct {
	country, street, city, zip, state, currency string
	given, surname                              []string
}{
	{"US", "Main St", "San Jose", "95131", "CA", "USD", []string{"Jane", "John", "Ava", "Noah"}, []string{"Doe", "Sample", "O'Example", "Placeholder"}},
	{"DE", "Hauptstraße", "Freiburg", "79098", "", "EUR", []string{"Jörg", "Käthe", "Änne", "Max"}, []string{"Müller-Muster", "Beispiel", "Groß", "Mustermann"}},
	{"GB", "Example Road", "London", "N1 9GU", "", "GBP", []string{"Olive", "Arthur", "Imogen"}, []string{"Specimen", "Exemplar", "Nobody"}},
	{"JP", "見本町", "東京", "100-0001", "Tokyo", "JPY", []string{"花子", "太郎", "さくら"}, []string{"見本", "例", "山田"}},
	{"SE", "Exempelgatan", "Malmö", "211 20", "", "SEK", []string{"Åsa", "Björn", "Örjan"}, []string{"Exempelsson", "Ström"}},
	{"AU", "Specimen Parade", "Sydney", "2000", "NSW", "AUD", []string{"Kylie", "Bruce"}, []string{"Nobody", "Exemplar"}},
}

// customer returns a new person, or one that came before.
func (t *teller) customer() *person {
	if n := len(t.customers); n > 0 && t.chance(returning) {
		return t.customers[t.random.IntN(n)]
	}
	p := places[t.random.IntN(len(places))]
	n := len(t.customers) + 1
	who := &person{
		given: p.given[t.random.IntN(len(p.given))], surname: p.surname[t.random.IntN(len(p.surname))],
		email: fmt.Sprintf("customer%05d@example.com", n), payerID: t.payerID(), country: p.country, city: p.city, zip: p.zip,
		code: p.state, currency: p.currency, street: strconv.Itoa(1+t.random.IntN(99)) + " " + p.street,
	}
	if t.chance(0.15) {
		who.email = fmt.Sprintf("Customer.%05d+shop@Example.com", n) // case and tags as people type them
	}
	if t.chance(0.2) {
		who.phone = "408555" + fmt.Sprintf("%04d", n%10000)
	}
	t.customers = append(t.customers, who)
	return who
}

func (p *person) name() *node { return obj("given_name", p.given, "surname", p.surname) }

func (p *person) address() *node {
	a := obj("address_line_1", p.street, "admin_area_2", p.city)
	if p.code != "" {
		a.set("admin_area_1", p.code)
	}
	a.set("postal_code", p.zip)
	a.set("country_code", p.country)
	return a
}

// payer is the member of that name in an order.
func (p *person) payer() *node {
	n := obj("name", p.name(), "email_address", p.email, "payer_id", p.payerID, "address", obj("country_code", p.country))
	if p.phone != "" {
		n.set("phone", obj("phone_type", "MOBILE", "phone_number", obj("national_number", p.phone)))
	}
	return n
}

// amount is money in the smallest unit that the story uses: cents, or whole yen.
type amount struct {
	units    int
	currency string
}

func (a amount) String() string {
	if a.currency == "JPY" {
		return strconv.Itoa(a.units)
	}
	return fmt.Sprintf("%d.%02d", a.units/100, a.units%100)
}

// short is how subscriptions write money: one decimal where that is enough.
func (a amount) short() string {
	if a.currency == "JPY" {
		return a.String()
	}
	return strings.TrimSuffix(a.String(), "0")
}

func (a amount) minus(b amount) amount { return amount{a.units - b.units, a.currency} }

func (a amount) money() *node { return obj("currency_code", a.currency, "value", a.String()) }

// fee is about three percent and a bit.
func (a amount) fee() amount { return amount{a.units*29/1000 + 1, a.currency} }

func (t *teller) price(currency string) amount {
	if currency == "JPY" {
		return amount{100 * (5 + t.random.IntN(300)), currency}
	}
	return amount{199 + t.random.IntN(15000), currency}
}

var (
	cacheLock sync.Mutex
	cache     = map[string]*node{}
)

// loaded parses each template once. The tree is read only.
func loaded(name string) *node {
	cacheLock.Lock()
	defer cacheLock.Unlock()
	if cache[name] == nil {
		cache[name] = load(name)
	}
	return cache[name]
}
