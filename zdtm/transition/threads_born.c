/*
 * title: threads start threads and end, without pause; each one's arithmetic is right, and none is lost
 * flavours: host ns userns
 * cflags: -pthread
 * ignore: threads
 */
#include "../static/threads.h"

enum { CHAINS = 6, ROUNDS = 20000 };

/* A chain is a row of threads, each the child of the one before; what it has counted is in its own hands. */
struct chain {
	uint32_t born, ended, number;
	uint64_t product;
};

static struct chain chains[CHAINS];
static uint32_t over;
static __thread uint64_t local;

/* A step of a generator modulo 2^64, in registers as long as it goes; and n steps of it at once. */
static uint64_t steps(uint64_t x, uint32_t n)
{
	while (n--) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		__asm__ volatile("" : "+r"(x));
	}
	return x;
}

static uint64_t leap(uint64_t x, uint64_t n)
{
	uint64_t a = 6364136223846793005ULL, c = 1442695040888963407ULL, all_a = 1, all_c = 0;

	for (; n; n >>= 1) {
		if (n & 1) {
			all_a *= a;
			all_c = all_c * a + c;
		}
		c = c * a + c;
		a *= a;
	}
	return all_a * x + all_c;
}

static void *link_of(void *argument)
{
	struct chain *chain = argument;
	uint64_t seed = chain->product, result;
	double sum = 0;
	pthread_t next;

	CHECK(!local, "a new thread has a thread-local value of %#llx", (long long)local);
	local = seed;
	result = steps(seed, ROUNDS);
	for (int i = 1; i <= 1000; i++)
		sum += i * 0.5;
	CHECK(result == leap(seed, ROUNDS), "chain %u, thread %u: the product is %#llx, not %#llx",
	      chain->number, chain->born, (long long)result, (long long)leap(seed, ROUNDS));
	CHECK(sum == 250250, "chain %u, thread %u: the sum is %f", chain->number, chain->born, sum);
	CHECK(local == seed, "chain %u, thread %u: the local value is %#llx", chain->number, chain->born,
	      (long long)local);
	chain->product = result;
	__atomic_add_fetch(&chain->ended, 1, __ATOMIC_SEQ_CST);
	if (!test_go()) {
		test_post(&over);
		return NULL;
	}
	chain->born++;
	next = thread_start(link_of, chain);
	PTHREAD(pthread_detach(next));
	return NULL;
}

int main(int argc, char **argv)
{
	uint32_t total = 0;

	test_init(argc, argv);
	for (uint32_t i = 0; i < CHAINS; i++) {
		chains[i] = (struct chain){.born = 1, .number = i, .product = i};
		PTHREAD(pthread_detach(thread_start(link_of, &chains[i])));
	}
	test_daemon();
	test_waitsig();
	test_await(&over, CHAINS);
	for (uint32_t i = 0; i < CHAINS; i++) {
		struct chain *chain = &chains[i];

		CHECK(chain->ended == chain->born, "chain %u: %u threads were born, %u ended", i, chain->born,
		      chain->ended);
		CHECK(chain->product == leap(i, (uint64_t)ROUNDS * chain->born),
		      "chain %u has lost a thread of %u", i, chain->born);
		total += chain->born;
	}
	test_msg("%u threads\n", total);
	pass();
}
