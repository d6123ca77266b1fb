// SPDX-License-Identifier: MIT
// From C++: a process as an object, whose state needs no lock because only its own process touches
// it. Exceptions must not leave the body of a process.
#include <rusm/otp.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

namespace
{

constexpr std::int64_t wait_ms = 10000;

struct msg_del {
    void operator()(rusm_msg *msg) const
    {
        rusm_msg_del(msg);
    }
};
using message = std::unique_ptr<rusm_msg, msg_del>;

void must(rusm_err err, const char *what)
{
    if (err != RUSM_OK) {
        std::fprintf(stderr, "%s: %s\n", what, rusm_err_detail());
        std::_Exit(EXIT_FAILURE);
    }
}

message receive()
{
    rusm_msg *msg = nullptr;

    must(rusm_receive(&msg, wait_ms), "receive");
    return message(msg);
}

class counter
{
  public:
    // Counts the words that it receives; an empty message asks for the number.
    void run()
    {
        for (;;) {
            message msg = receive();

            if (rusm_msg_len(msg.get()) == 0) {
                must(rusm_send(rusm_msg_sender(msg.get()), &words_, sizeof(words_)), "answer");
                return;
            }
            words_++;
        }
    }

    static void body(void *arg)
    {
        static_cast<counter *>(arg)->run();
    }

  private:
    std::uint64_t words_ = 0;
};

} // namespace

int main()
{
    rusm_runtime *runtime = nullptr;
    rusm_pid pid = RUSM_PID_NONE;
    std::uint64_t words = 0;
    counter count;

    must(rusm_runtime_new(&runtime, nullptr), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");
    must(rusm_spawn(runtime, counter::body, &count, &pid), "spawn");
    for (const std::string word : {"one", "two", "three"}) {
        must(rusm_send(pid, word.data(), word.size()), "send");
    }
    must(rusm_send(pid, "", 0), "ask");
    {
        message answer = receive();

        std::memcpy(&words, rusm_msg_data(answer.get()), sizeof(words));
    }
    std::printf("%llu words\n", static_cast<unsigned long long>(words));
    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
