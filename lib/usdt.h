/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Static probes (USDT) of the provider "outbox", for bpftrace, perf and SystemTap; doc/tracing.md lists them, and
 * tests/traced compares it with what was built. One that nobody traces is an instruction that does nothing; without
 * <sys/sdt.h> there is not even that. All arguments are signed, of 64 bits. */
#ifndef OUTBOX_USDT_H
#define OUTBOX_USDT_H

#include <stdint.h>

#if OUTBOX_WITH_SDT
#include <sys/sdt.h>
#ifdef __clang__
/* Its macros are expanded in our files, so that this has to hold where they are used. */
#pragma clang diagnostic ignored "-Wgnu-zero-variadic-macro-arguments"
#endif
#define PROBE_ARG_(value) ((int64_t)(value))
#define PROBE1(name, a) STAP_PROBE1(outbox, name, PROBE_ARG_(a))
#define PROBE3(name, a, b, c) STAP_PROBE3(outbox, name, PROBE_ARG_(a), PROBE_ARG_(b), PROBE_ARG_(c))
#define PROBE4(name, a, b, c, d) STAP_PROBE4(outbox, name, PROBE_ARG_(a), PROBE_ARG_(b), PROBE_ARG_(c), PROBE_ARG_(d))
#define PROBE5(name, a, b, c, d, e) \
    STAP_PROBE5(outbox, name, PROBE_ARG_(a), PROBE_ARG_(b), PROBE_ARG_(c), PROBE_ARG_(d), PROBE_ARG_(e))
#else
#define PROBE1(name, a) ((void)(a))
#define PROBE3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#define PROBE4(name, a, b, c, d) ((void)(a), (void)(b), (void)(c), (void)(d))
#define PROBE5(name, a, b, c, d, e) ((void)(a), (void)(b), (void)(c), (void)(d), (void)(e))
#endif

#endif
