/*
 * A stranger with our key, the freeze, and the thaw by a person (docs/model.md).
 *
 * One executor adopts an account and pays one disbursement; a stranger's transaction takes a nonce, may be taken back
 * by a reorg, and may never come again. A gap below our nonces would hold everything behind it for ever.
 */
#define N 5
#define OURS 1
#define FOREIGN 2

#ifndef REORGS
#define REORGS 2
#endif
#ifndef STRANGERS
#define STRANGERS 2
#endif

/* HELD: its intent became void, a person has to release it */
mtype = { READY, STAGED, SENT, HELD, FINAL };

/* the store */
mtype state = READY;
byte nonce, next_nonce;
byte accounted;        /* nonces below it are accounted for */
bool adopted, frozen;

byte block[N], blocks, deep, pool[N], left[N];
byte reorgs, strangers;

#define alive ((state == STAGED) || (state == SENT))
#define is_paid ((block[0] == OURS) + (block[1] == OURS) + (block[2] == OURS) + (block[3] == OURS) + (block[4] == OURS))
#define foreign_at(n) (block[n] == FOREIGN && n >= accounted)
#define foreign_seen (foreign_at(0) || foreign_at(1) || foreign_at(2) || foreign_at(3) || foreign_at(4))
#define undecided(n) (block[n] == FOREIGN && n >= deep)
#define foreign_undecided (undecided(0) || undecided(1) || undecided(2) || undecided(3) || undecided(4))
#define filled(n) (n >= next_nonce || n < deep || (alive && nonce == n))

#define ONCE (is_paid <= 1)
#define GAPLESS (frozen || !adopted || (filled(0) && filled(1) && filled(2) && filled(3) && filled(4)))
#define PAID_IS_FINAL (state != FINAL || is_paid == 1)
#define DONE (state == FINAL)

proctype executor() {
    do
    :: DONE -> break
#ifdef ADOPT_AT_ONCE
    :: atomic { !adopted -> adopted = true; next_nonce = blocks; accounted = blocks }
#else
    :: atomic { !adopted && deep == blocks -> adopted = true; next_nonce = deep; accounted = deep }
#endif
    :: atomic { adopted && !frozen && foreign_seen -> frozen = true }
    :: atomic { adopted && !frozen && !foreign_seen && state == READY ->
           assert(next_nonce < N);
           nonce = next_nonce; next_nonce++; state = STAGED }
    :: atomic { !frozen && state == STAGED -> pool[nonce] = pool[nonce] | OURS; left[nonce] = left[nonce] | OURS; state = SENT }
    :: atomic { !frozen && state == SENT && block[nonce] == 0 && !(pool[nonce] & OURS) -> pool[nonce] = pool[nonce] | OURS }
    :: atomic { state == SENT && block[nonce] == OURS && nonce < deep -> state = FINAL }
#ifdef VOID_AT_SIGHT
    :: atomic { alive && block[nonce] == FOREIGN -> state = HELD }
#else
    :: atomic { alive && block[nonce] == FOREIGN && nonce < deep -> state = HELD }
#endif
    od
}

proctype person() {
    do
    :: DONE -> break
#ifdef THAW_AT_ONCE
    :: atomic { frozen ->
           frozen = false; accounted = blocks;
           if :: next_nonce < blocks -> next_nonce = blocks :: else fi }
#else
    :: atomic { frozen && !foreign_undecided ->
           frozen = false; accounted = deep;
           if :: next_nonce < deep -> next_nonce = deep :: else fi }
#endif
    :: atomic { state == HELD -> state = READY }
    od
}

proctype stranger() {
    byte n;
    do
    :: atomic { strangers < STRANGERS -> strangers++; if :: n = 0 :: n = 1 :: n = 2 fi; pool[n] = pool[n] | FOREIGN; n = 0 }
    :: break
    od
}

proctype chain() {
    do
    :: DONE -> break
    :: atomic { blocks < N && (pool[blocks] & OURS) -> block[blocks] = OURS; blocks++ }
    :: atomic { blocks < N && (pool[blocks] & FOREIGN) -> block[blocks] = FOREIGN; blocks++ }
    :: atomic { deep < blocks -> deep++ }
    :: atomic { blocks > deep && reorgs < REORGS -> reorgs++; blocks--; block[blocks] = 0 }
    :: atomic { blocks > deep && reorgs < REORGS -> reorgs++; blocks--; block[blocks] = 0; pool[blocks] = 0 }
    od
}

proctype network() {
    do
    :: atomic { blocks < N && (left[blocks] & ~pool[blocks]) -> pool[blocks] = pool[blocks] | left[blocks] }
    :: break
    od
}

init {
    atomic { run executor(); run person(); run stranger(); run chain(); run network() }
}

ltl safe { [] (ONCE && GAPLESS && PAID_IS_FINAL) }
ltl once { [] ONCE }
ltl gapless { [] GAPLESS }
ltl live { <> DONE }
