/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * As much of Criterion's interface as the unit tests use, for where there is no Criterion: under sanitizers, whose
 * findings it keeps to itself, and on machines that Debian has no package for here. Each test is a child process, and its leaks
 * count as failures. Prints TAP; an argument that is no
 * option of Criterion's chooses tests by name.
 */
#ifndef OUTBOX_WITHOUT_CRITERION_H
#define OUTBOX_WITHOUT_CRITERION_H
#pragma GCC system_header /* its macros are called with no further arguments, which C11 calls pedantic */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct cr_test {
    const char *suite, *name;
    void (*run)(void), (*init)(void), (*fini)(void);
    struct cr_test *next;
};

static struct cr_test *cr_tests, *cr_suites;
static jmp_buf cr_out;
static int cr_failures;

__attribute__((format(printf, 5, 6)))
static void cr_check(const char *file, int line, int fatal, int passed, const char *format, ...)
{
    va_list list;

    if (passed)
        return;
    cr_failures++;
    printf("# %s:%d:", file, line);
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    putchar('\n');
    if (fatal)
        longjmp(cr_out, 1);
}

#define CR_FUNCTION_(suite, name) cr_test_##suite##_##name
#define CR_REGISTER_(list, test) \
    __attribute__((constructor)) static void test##_register(void) \
    { \
        struct cr_test **at = &list; \
        while (*at != NULL) \
            at = &(*at)->next; \
        *at = &test; \
    }
#define Test(suite_, name_, ...) \
    static void CR_FUNCTION_(suite_, name_)(void); \
    static struct cr_test cr_test_##suite_##_##name_##_entry = { .suite = #suite_, .name = #name_, \
                                                                .run = CR_FUNCTION_(suite_, name_), __VA_ARGS__ }; \
    CR_REGISTER_(cr_tests, cr_test_##suite_##_##name_##_entry) \
    static void CR_FUNCTION_(suite_, name_)(void)
#define TestSuite(suite_, ...) \
    static struct cr_test cr_suite_##suite_ = { .suite = #suite_, __VA_ARGS__ }; \
    CR_REGISTER_(cr_suites, cr_suite_##suite_) \
    extern int cr_suite_##suite_##_ends

#define CR_IS_(fatal, passed, what, ...) cr_check(__FILE__, __LINE__, fatal, !!(passed), " " what " " __VA_ARGS__)
#define cr_expect(condition, ...) CR_IS_(0, condition, "the condition is false.", __VA_ARGS__)
#define cr_assert(condition, ...) CR_IS_(1, condition, "the condition is false.", __VA_ARGS__)
#define cr_expect_not(condition, ...) CR_IS_(0, !(condition), "the condition is true.", __VA_ARGS__)
#define cr_assert_not(condition, ...) CR_IS_(1, !(condition), "the condition is true.", __VA_ARGS__)
#define cr_expect_fail(...) CR_IS_(0, 0, "", __VA_ARGS__)
#define cr_assert_fail(...) CR_IS_(1, 0, "", __VA_ARGS__)
#define cr_expect_null(p, ...) CR_IS_(0, (p) == NULL, "not NULL.", __VA_ARGS__)
#define cr_assert_null(p, ...) CR_IS_(1, (p) == NULL, "not NULL.", __VA_ARGS__)
#define cr_expect_not_null(p, ...) CR_IS_(0, (p) != NULL, "NULL.", __VA_ARGS__)
#define cr_assert_not_null(p, ...) CR_IS_(1, (p) != NULL, "NULL.", __VA_ARGS__)
#define cr_expect_eq(a, b, ...) CR_IS_(0, (a) == (b), "not equal.", __VA_ARGS__)
#define cr_assert_eq(a, b, ...) CR_IS_(1, (a) == (b), "not equal.", __VA_ARGS__)
#define cr_expect_neq(a, b, ...) CR_IS_(0, (a) != (b), "equal.", __VA_ARGS__)
#define cr_expect_lt(a, b, ...) CR_IS_(0, (a) < (b), "not less.", __VA_ARGS__)
#define cr_assert_lt(a, b, ...) CR_IS_(1, (a) < (b), "not less.", __VA_ARGS__)
#define cr_expect_leq(a, b, ...) CR_IS_(0, (a) <= (b), "greater.", __VA_ARGS__)
#define cr_expect_gt(a, b, ...) CR_IS_(0, (a) > (b), "not greater.", __VA_ARGS__)
#define cr_expect_geq(a, b, ...) CR_IS_(0, (a) >= (b), "less.", __VA_ARGS__)
#define cr_assert_geq(a, b, ...) CR_IS_(1, (a) >= (b), "less.", __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...) CR_IS_(0, strcmp(a, b) == 0, "another text.", __VA_ARGS__)
#define cr_expect_str_neq(a, b, ...) CR_IS_(0, strcmp(a, b) != 0, "the same text.", __VA_ARGS__)
#define cr_expect_arr_eq(a, b, size, ...) CR_IS_(0, memcmp(a, b, size) == 0, "other bytes.", __VA_ARGS__)

/* What is left open or leaked is found when the child ends. */
static void cr_run(const struct cr_test *test)
{
    const struct cr_test *suite = cr_suites;

    while (suite != NULL && strcmp(suite->suite, test->suite) != 0)
        suite = suite->next;
    if (suite != NULL && suite->init != NULL)
        suite->init();
    if (setjmp(cr_out) == 0) {
        if (test->init != NULL)
            test->init();
        test->run();
        if (test->fini != NULL)
            test->fini();
    }
    if (suite != NULL && suite->fini != NULL)
        suite->fini();
    exit(cr_failures > 0);
}

int main(int argc, char **argv)
{
    const char *wanted = argc > 1 && argv[1][0] != '-' ? argv[1] : "";
    int count = 0, failed = 0, status;
    const struct cr_test *test;
    char name[200];
    pid_t child;

    for (test = cr_tests; test != NULL; test = test->next) {
        snprintf(name, sizeof(name), "%s::%s", test->suite, test->name);
        if (strstr(name, wanted) == NULL)
            continue;
        fflush(stdout);
        child = fork();
        if (child == 0)
            cr_run(test);
        status = -1;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            failed++;
        printf("%sok %d - %s\n", status != 0 ? "not " : "", ++count, name);
    }
    printf("1..%d\n", count);
    return failed > 0 || count == 0;
}

#endif
