// Package e2e starts the built program as its users do, on embedded and on real parts, kills it, takes parts away from
// it, and holds what came out against what the simulators sent and hold.
package e2e
