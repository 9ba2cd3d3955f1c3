package story

import (
	"fmt"
	"math/rand/v2"

	"github.com/tillstream/tillstream/simulators"
)

// ShopOrder is one order of a shop with what happens to it, in this order.
type ShopOrder struct {
	simulators.Order
	Steps []Step
}

// Step is one thing that happens to an order. Amount belongs to Refund.
type Step struct {
	Deed   Deed
	Amount string
}

// Deed is what is done to an order.
type Deed int

// The deeds, as simulators.Shop has them.
const (
	Pay Deed = iota + 1
	Fail
	Cancel
	Refund
)

// Shares of the lives that a shop's order leads; the rest is paid and stays so.
const (
	shareOpen            = 0.08 // never paid
	shareFailed          = 0.08 // declined
	shareFailedThenPaid  = 0.10
	shareCancelled       = 0.08 // before it was paid
	shareRefunded        = 0.08
	sharePartlyRefunded  = 0.08
	shopCustomersPerHost = 3 // orders by one customer, about
)

// ShopOrders makes up the orders of one shop. The same seed and shop give the same orders.
func ShopOrders(seed int64, shop string, n int) []ShopOrder {
	salt := uint64(0)
	for _, b := range []byte(shop) {
		salt = salt*131 + uint64(b)
	}
	random := rand.New(rand.NewPCG(uint64(seed), salt))
	out := make([]ShopOrder, n)
	for i := range out {
		who := random.IntN(n/shopCustomersPerHost + 1)
		from := places[who%len(places)]
		given, surname := from.given[who/len(places)%len(from.given)], from.surname[who%len(from.surname)]
		cents := 500 + random.IntN(20_000)
		o := ShopOrder{Order: simulators.Order{
			Email:     fmt.Sprintf("%s.customer%d@example.com", shop, who),
			GivenName: given, Surname: surname, Phone: fmt.Sprintf("+39055%06d", who),
			Total: fmt.Sprintf("%d.%02d", cents/100, cents%100), Currency: "EUR", Product: products[random.IntN(len(products))],
		}}
		o.Steps = life(random.Float64(), cents)
		out[i] = o
	}
	return out
}

var products = []string{"Leather belt", "Olive oil, 1 l", "Notebook", "Coffee, 500 g", "Gift card"}

// life is what happens to an order of so many cents; at is where its lot falls, from 0 to 1.
func life(at float64, cents int) []Step {
	for _, l := range []struct {
		share float64
		steps []Step
	}{
		{shareOpen, nil},
		{shareFailed, []Step{{Deed: Fail}}},
		{shareFailedThenPaid, []Step{{Deed: Fail}, {Deed: Pay}}},
		{shareCancelled, []Step{{Deed: Cancel}}},
		{shareRefunded, []Step{{Deed: Pay}, {Refund, fmt.Sprintf("%d.%02d", cents/100, cents%100)}}},
		{sharePartlyRefunded, []Step{{Deed: Pay}, {Refund, fmt.Sprintf("%d.%02d", cents/300, cents/3%100)}}},
	} {
		if at < l.share {
			return l.steps
		}
		at -= l.share
	}
	return []Step{{Deed: Pay}}
}
