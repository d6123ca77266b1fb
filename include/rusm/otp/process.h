/* SPDX-License-Identifier: MIT */
/**
 * @file
 * Processes: spawn, send, receive, exit, kill. "In context" below means: called by a process, or by
 * a thread between rusm_thread_enter() and rusm_thread_leave().
 */
#ifndef RUSM_OTP_PROCESS_H
#define RUSM_OTP_PROCESS_H

#include <rusm/err.h>
#include <rusm/otp/message.h>
#include <rusm/otp/reason.h>
#include <rusm/types.h>

RUSM_BEGIN_DECLS

/** The body of a process: ordinary C that may block in rusm calls. Returning is the exit reason
 * *normal*. */
typedef void (*rusm_process_fn)(void *arg);

/** What becomes of a message to a mailbox that holds as many as it may (Erlang has no bounded
 * mailboxes). Exits, downs and other signals of the system are never shed. */
typedef enum rusm_mailbox_policy {
    RUSM_MAILBOX_REFUSE = 0,      /**< the send fails with RUSM_EFULL */
    RUSM_MAILBOX_DROP_NEWEST = 1, /**< the message is dropped and counted; the send succeeds */
    RUSM_MAILBOX_DROP_OLDEST = 2, /**< the oldest one is dropped and counted to make room */
} rusm_mailbox_policy;

/** How a process is spawned. Fill it with rusm_spawn_config_init() first. */
typedef struct rusm_spawn_config {
    size_t size;        /**< sizeof(rusm_spawn_config), set by init */
    size_t stack_size;  /**< bytes of address space; 0: the pool's default; rounded up to a size
                          class */
    const char *label;  /**< for lists and logs, copied; NULL: none; at most RUSM_NAME_MAX bytes */
    const char *name;   /**< registered before the process runs; NULL: none */
    bool link;          /**< link it to the caller, atomically (rusm/otp/link.h); in context only */
    bool trap_exit;     /**< it traps exits from its first instruction on */
    rusm_ref *out_ref;  /**< monitor it by the caller, atomically; the reference is written here
                          before the process runs. NULL: no monitor. In context only */
    size_t mailbox_max; /**< messages that its mailbox holds at most, signals not counted; 0: no
                           limit */
    rusm_mailbox_policy mailbox_policy; /**< what becomes of a message to a full mailbox */
} rusm_spawn_config;

/** Fill cfg with the defaults. Threads: any. */
RUSM_API void rusm_spawn_config_init(rusm_spawn_config *cfg);

/**
 * Start a process that runs fn(arg).
 *
 * rt may be NULL in context: the caller's runtime. The process may run, and end, before the call
 * returns.
 *
 * Owns:    arg stays the caller's; nothing frees it. out_pid may be NULL.
 * Threads: any. Never blocks.
 * Limits:  rusm_pool_config.processes_max
 * Errors:  RUSM_EINVAL     fn is NULL, or rt is NULL outside a context
 *          RUSM_ENOMEM     no stack or control block
 *          RUSM_EFULL      too many processes
 *          RUSM_ECLOSED    the runtime is stopping
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_spawn(rusm_runtime *rt, rusm_process_fn fn, void *arg,
                                             rusm_pid *out_pid);

/** Like rusm_spawn(), with a config; also RUSM_EEXIST if cfg->name is taken (then nothing was
 * spawned). */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_spawn_with(rusm_runtime *rt, rusm_process_fn fn, void *arg,
                                                  const rusm_spawn_config *cfg, rusm_pid *out_pid);

/** The pid of the calling process or entered thread; the zero pid outside. Threads: any. */
RUSM_API rusm_pid rusm_self(void);

/** End the calling process with reason normal or shutdown. Never returns. In context of a process
 * only. */
RUSM_API RUSM_NORETURN void rusm_exit(rusm_reason_kind kind);

/**
 * End the calling process with a reason of its own choice, such as the one in a down message.
 * Never returns. In context of a process only. reason is copied. */
RUSM_API RUSM_NORETURN void rusm_exit_with(const rusm_reason *reason);

/** End the calling process with reason crashed and a text (printf format). Never returns. Processes
 * only. */
RUSM_API RUSM_NORETURN void rusm_crash(const char *format, ...) RUSM_PRINTF(1, 2);

/**
 * End a process with reason killed, wherever it is suspended; a running one ends at its next rusm
 * call.
 *
 * It can not be caught. Asynchronous: success means that the process was alive when it was asked. A
 * pid of another node is killed there (rusm/cluster/node.h).
 *
 * Threads: any thread for a local pid; in context for a pid of another node. Never blocks.
 * Errors:  RUSM_ENOPROC
 *          RUSM_ENONODE  the pid belongs to no connected node
 *          RUSM_EPERM    this node is an observer, which may not touch others
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_kill(rusm_pid pid);

/** Whether a local process is alive and not ending. Threads: any. */
RUSM_API bool rusm_is_alive(rusm_pid pid);

/**
 * Send a copy of len bytes to a process, on this node or another.
 *
 * Messages from one sender to one receiver arrive in sending order. Success means accepted, not
 * delivered. To another node the caller may be suspended while the link's queue is full.
 *
 * Owns:    nothing; the bytes are copied.
 * Threads: any thread for a local pid; in context for a pid of another node.
 * Limits:  RUSM_MESSAGE_MAX to another node
 * Errors:  RUSM_EINVAL    pid is the zero pid
 *          RUSM_ENOPROC   it is a local pid and the process has ended, or of a node that was
 *                         restarted since
 *          RUSM_EFULL     its mailbox is full, and its policy is to refuse
 *          RUSM_ENONODE   the pid belongs to no connected node
 *          RUSM_EPERM     this node is an observer, which may not touch others
 *          RUSM_EMSGSIZE, RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_send(rusm_pid to, const void *data, size_t len);

/** Like rusm_send(), but never suspends: RUSM_EAGAIN if the link to the process's node has no room
 * now, or that process asked for a pause. */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_try_send(rusm_pid to, const void *data, size_t len);

/** Like rusm_send(), handing over msg. Owns: takes msg on RUSM_OK; on any error the caller still
 * owns it. Errors: also RUSM_EINVAL: there is an end of a stream in it, and the process is on
 * another node (take it out, and use rusm_stream_send()). */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_send_msg(rusm_pid to, rusm_msg *msg);

/**
 * Send a copy of len bytes to the process registered as name in the caller's runtime.
 *
 * Threads: in context. Never blocks.
 * Errors:  RUSM_ENONAME     nobody has the name
 *          RUSM_EFULL       as rusm_send()
 *          RUSM_ENOCONTEXT, RUSM_EINVAL, RUSM_ENOMEM
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_send_name(const char *name, const void *data, size_t len);

/**
 * Take the oldest message from the mailbox, waiting for one if it is empty.
 *
 * Owns:    the caller owns *out_msg and frees it with rusm_msg_del() or sends it on.
 * Threads: in context. Suspends the calling process only.
 * Errors:  RUSM_ETIMEOUT    nothing came in time
 *          RUSM_ENOCONTEXT  the caller is no process
 *          RUSM_EKILLED     only to an entered thread: somebody killed it, or the runtime stops
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_receive(rusm_msg **out_msg, int64_t timeout_ms);

/** A place in the caller's mailbox; see rusm_mailbox_mark(). */
typedef struct rusm_mark {
    uint64_t number; /**< 0: none */
} rusm_mark;

/** Whether selective receive takes this message. Runs in the receiver; must not receive or exit
 * itself. */
typedef bool (*rusm_match_fn)(const rusm_msg *msg, void *arg);

/**
 * Take the oldest message that match accepts; all others stay, in order, for later receives.
 *
 * The time allowed runs over the whole call, as in Erlang's `receive ... after`.
 *
 * Owns:    as rusm_receive()
 * Threads: in context. Suspends the calling process only.
 * Errors:  as rusm_receive(); RUSM_EINVAL if match is NULL
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_receive_match(rusm_msg **out_msg, rusm_match_fn match,
                                                     void *arg, int64_t timeout_ms);

/**
 * Remember how far the caller's mailbox goes now, for rusm_receive_since(). A second mark replaces
 * the first. What Erlang's compiler does for `make_ref` followed by a receive. In context only: a
 * thread outside gets a mark that is never valid.
 */
RUSM_API rusm_mark rusm_mailbox_mark(void);

/**
 * Like rusm_receive_match(), but does not look at messages that came before the mark: a reply is
 * found at once, however many unrelated messages wait. A mark that was replaced counts as the
 * beginning of the mailbox: then it is slower, never wrong.
 *
 * Errors:  as rusm_receive_match()
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_receive_since(rusm_mark mark, rusm_msg **out_msg,
                                                     rusm_match_fn match, void *arg,
                                                     int64_t timeout_ms);

/** Suspend the caller for that long; 0 lets others run. Threads: in context. Errors: as
 * rusm_receive(). */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_sleep(int64_t timeout_ms);

/** Let other processes run. A killed process ends here. No effect in an ordinary thread. */
RUSM_API void rusm_yield(void);

/** What rusm_wait_fd() waits for. */
#define RUSM_FD_READ  1u
#define RUSM_FD_WRITE 2u

/**
 * Wait until a file descriptor is ready, suspending the calling process only.
 *
 * Errors on the descriptor count as ready, so that the read or write that follows reports them. One
 * process at a time may wait for a descriptor; close it only while nobody waits.
 *
 * Owns:    nothing; the descriptor should be non-blocking.
 * Threads: in context.
 * Errors:  RUSM_ETIMEOUT
 *          RUSM_EINVAL   events is empty, or somebody waits for fd already
 *          RUSM_ESYS     the descriptor can not be polled
 *          RUSM_ENOCONTEXT, RUSM_EKILLED
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_wait_fd(int fd, unsigned events, int64_t timeout_ms);

/**
 * Write a pid as text: `<name.serial>` for a local pid, `<incarnation-in-hex.serial>` otherwise.
 *
 * Returns the length without NUL, as snprintf does. Owns: nothing. Threads: any.
 */
RUSM_API size_t rusm_pid_format(rusm_pid pid, char *buf, size_t buf_len);

RUSM_END_DECLS

#endif
