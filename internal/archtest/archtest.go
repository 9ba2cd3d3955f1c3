// Package archtest keeps the layering and the house rules of the module. The tables are policy: do not relax one to
// make a build pass; a new edge needs a reason in the same commit.
package archtest
