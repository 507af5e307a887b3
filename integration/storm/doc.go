// Package storm breaks pgbaton by chance, in pairs of faults, on real servers, and
// reads afterwards whether what was seen is what it promises.
//
// A run is a schedule, which a seed makes; its history is what was seen from
// outside while it ran: whom the test made the leader, where each client's row went,
// what lay on the disk, what was checked and loaded, what was paused. Check
// reads a history. It knows nothing of pgbaton's code and imports none of it;
// bugs that are planted on purpose show that it finds what it looks for.
package storm
