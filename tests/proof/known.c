/* A true contract, a false one and a contradictory one. ci/prove tries these first, to detect a
 * prover that is broken or proves anything. */

/*@ requires small: 0 <= x <= 1000 && 0 <= y <= 1000;
  @ assigns  \nothing;
  @ ensures  true: \result % 2 == 0 ==> \result / 2 * 2 == \result && \result <= 2 * 1000;
  @*/
int known_true(int x, int y) { return x + y; }

/*@ requires small: 0 <= x <= 1000 && 0 <= y <= 1000;
  @ assigns  \nothing;
  @ ensures  false: \result <= 1999;
  @*/
int known_false(int x, int y) { return x + y; }

/*@ requires contradiction: \valid_read(a + (0 .. 9)) && a[5] + x == 3 && x > 0 &&
  @            \forall integer i; 0 <= i < 10 ==> a[i] > i;
  @ assigns  \nothing;
  @ ensures  anything: \result == 8;
  @*/
int known_contradiction(int x, const int *a) { return x + a[0]; }
