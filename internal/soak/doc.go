// Package soak holds tests that bring many contacts to a simulated CRM account which times out after applying, refuses
// for the rate, and fails before and after applying, while the deliverers are killed at random moments. At the end the
// account is held against what was asked for: every contact as last meant, no version that went back, every effect once,
// no second with more requests than the limit, and hardly more requests than are needed.
//
// TestSoak runs the built program against a real Kafka and a real Redis; its flags make it longer:
//
//	make soak SOAK_ARGS="-contacts 20000 -kills 30 -rate 600 -gap 20s"
//
// TestVirtualSoak (build tag synctests) runs the same plan with the deliverers of this process in virtual time, at the
// account's documented limit of 5 requests a second:
//
//	go test -tags synctests ./internal/soak -run 'TestVirtualSoak$' -v -timeout 2h -virtual-contacts 20000 -virtual-kills 30
//
// TestVirtualSoakGetResponse is the same at the other CRM.
package soak
