// Package virtual holds tests of days: the product's stages, its engine, its Redis store and its delivery run against
// the real Kafka and Redis clients for days of virtual time, in one bubble of package testing/synctest. Only the far
// ends are stand-ins: kfake for the brokers, miniredis for Redis, and a CRM that is slow, refuses and loses answers.
//
// The tests need the build tag synctests, which makes Kafka's client wait in a way that such a bubble can see:
//
//	go test -tags synctests ./internal/virtual -run TestDays -v -days 3 -seed 1
package virtual
