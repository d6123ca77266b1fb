/* SPDX-License-Identifier: MIT */
#include "platform/barrier.h"

#include "base/assert.h"

#include <sys/syscall.h>
#include <unistd.h>

/* linux/membarrier.h */
#define PRIVATE_EXPEDITED          (1 << 3)
#define REGISTER_PRIVATE_EXPEDITED (1 << 4)

bool rusmi_barrier_prepare(void)
{
#ifdef SYS_membarrier
    return syscall(SYS_membarrier, REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
#else
    return false;
#endif
}

void rusmi_barrier_all(void)
{
#ifdef SYS_membarrier
    /* It can only fail without the registration. */
    rusmi_assert(syscall(SYS_membarrier, PRIVATE_EXPEDITED, 0, 0) == 0);
#else
    rusmi_unreachable();
#endif
}
