// Package web is the status page, and what feeds it: what internal/status and
// internal/history know, for a browser. It shows no more than whoever connects may see,
// and changes nothing.
//
// The page is three files that are part of the program. It loads nothing from elsewhere,
// and its Content-Security-Policy lets it do no more than it does. What it shows comes as
// server-sent events; of those there is a limit, beyond which the page asks again and
// again.
package web
