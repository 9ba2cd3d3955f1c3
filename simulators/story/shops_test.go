package story

import (
	"math/big"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShopOrdersAreTheSameForTheSameSeed(t *testing.T) {
	if diff := cmp.Diff(ShopOrders(3, "woo", 50), ShopOrders(3, "woo", 50)); diff != "" {
		t.Errorf("first against second:\n%s", diff)
	}
	if cmp.Equal(ShopOrders(3, "woo", 50), ShopOrders(3, "other", 50)) {
		t.Error("two shops have the same orders")
	}
}

func TestShopOrdersLeadEveryLifeAndRefundNoMoreThanTheyCost(t *testing.T) {
	lives := map[string]int{}
	for _, o := range ShopOrders(1, "woo", 500) {
		life := ""
		for _, s := range o.Steps {
			life += []string{"", "pay ", "fail ", "cancel ", "refund "}[s.Deed]
			if s.Deed != Refund {
				continue
			}
			total, ok1 := new(big.Rat).SetString(o.Total)
			back, ok2 := new(big.Rat).SetString(s.Amount)
			if !ok1 || !ok2 || back.Sign() <= 0 || back.Cmp(total) > 0 {
				t.Errorf("an order of %s is refunded %s", o.Total, s.Amount)
			}
		}
		lives[life]++
	}
	for _, life := range []string{"", "pay ", "fail ", "fail pay ", "cancel ", "pay refund "} {
		if lives[life] == 0 {
			t.Errorf("no order of 500 leads the life %q: %v", life, lives)
		}
	}
}
