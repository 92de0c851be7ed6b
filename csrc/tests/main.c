/* Runs all C tests on every CPU level that this machine has.
 *
 * On an emulated CPU the arguments name the levels to test, and the first must be the best one: a level that
 * the emulator hides would otherwise pass unnoticed. */
#include "tests/test.h"
#include "tinytorch.h"

#include <string.h>

float *whole_numbers(size_t n, unsigned seed)
{
    float *x = malloc(n * sizeof *x + !n);
    CHECK(x, "out of memory");
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(int)(seed >> 29) - 4.0f;
    }
    return x;
}

static void test_level(const char *level)
{
    CHECK(tt_select_level(level) == TT_OK && strcmp(tt_level_name(), level) == 0, "%s", level);
    test_maths();
    for (int threads = 1; threads <= 3; threads++) {
        tt_set_num_threads(threads);
        test_matmul();
        test_conv();
        test_lessons();
        test_quantized();
        test_sparse();
        test_attention();
        test_pool();
    }
    printf("%s: passed\n", level);
}

int main(int count, char **arguments)
{
    CHECK(tt_get_num_threads() == 1, "one thread until more are asked for");
    CHECK(tt_select_level("pentium") == TT_BAD_VALUE, "a level that does not exist");
    CHECK(tt_select_level(NULL) == TT_OK, "the best level");
    test_scratch();
    test_threads();
    if (count > 1) {
        CHECK(strcmp(tt_level_name(), arguments[1]) == 0, "the best level is %s", tt_level_name());
        for (int i = 1; i < count; i++) test_level(arguments[i]);
        return 0;
    }
    test_fork(); /* not on an emulated CPU: QEMU's user mode crashes when a program with threads forks */
    const char *level;
    for (int i = 0; (level = tt_available_level(i)); i++) test_level(level);
    return 0;
}
