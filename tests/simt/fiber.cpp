#include "fiber.hpp"

#include <sys/mman.h>

#include <new>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace simt {

namespace {

Fiber* starting = nullptr;  // handed from `enter` to `run`, which has no argument
constexpr std::size_t guard_bytes = 4096;

}  // namespace

#if defined(__x86_64__)

// Saves the registers that a callee must keep and exchanges stacks. ucontext would add two system calls to each switch,
// and a block of 224 threads switches some ten thousand times.
extern "C" void simt_exchange_stacks(void** from, void* to);
asm(R"(.text
.local simt_exchange_stacks
.type simt_exchange_stacks,@function
simt_exchange_stacks:
 pushq %rbp
 pushq %rbx
 pushq %r12
 pushq %r13
 pushq %r14
 pushq %r15
 movq %rsp,(%rdi)
 movq %rsi,%rsp
 popq %r15
 popq %r14
 popq %r13
 popq %r12
 popq %rbx
 popq %rbp
 ret
.size simt_exchange_stacks,.-simt_exchange_stacks
)");

namespace {
constexpr int saved_registers = 6;
}

void Fiber::start(const std::function<void()>& body) {
  body_ = &body;
  auto* top = reinterpret_cast<void**>(stack_ + stack_bytes);
  *--top = nullptr;  // where `run` would return to: keeps the stack aligned as after a call
  *--top = reinterpret_cast<void*>(&Fiber::run);
  for (int i = 0; i < saved_registers; ++i) *--top = nullptr;
  own_context_ = top;
}

void Fiber::enter() {
  starting = this;
  simt_exchange_stacks(&caller_context_, own_context_);
}

void Fiber::leave() { simt_exchange_stacks(&own_context_, caller_context_); }

#else

void Fiber::start(const std::function<void()>& body) {
  body_ = &body;
  if (own_context_ == nullptr) {
    own_context_ = new ucontext_t;
    caller_context_ = new ucontext_t;
  }
  auto* context = static_cast<ucontext_t*>(own_context_);
  getcontext(context);
  context->uc_stack.ss_sp = stack_ + guard_bytes;
  context->uc_stack.ss_size = stack_bytes - guard_bytes;
  context->uc_link = nullptr;
  makecontext(context, &Fiber::run, 0);
}

void Fiber::enter() {
  starting = this;
  swapcontext(static_cast<ucontext_t*>(caller_context_), static_cast<ucontext_t*>(own_context_));
}

void Fiber::leave() { swapcontext(static_cast<ucontext_t*>(own_context_), static_cast<ucontext_t*>(caller_context_)); }

#endif

Fiber::Fiber() {
  void* const memory =
      mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, guard_bytes, PROT_NONE);  // a stack that grows too far must not reach its neighbour
  stack_ = static_cast<std::byte*>(memory);
}

Fiber::~Fiber() {
  munmap(stack_, stack_bytes);
#if !defined(__x86_64__)
  delete static_cast<ucontext_t*>(own_context_);
  delete static_cast<ucontext_t*>(caller_context_);
#endif
}

void Fiber::run() {
  Fiber* const self = starting;
  (*self->body_)();
  self->leave();
  __builtin_trap();  // a finished fiber is never entered again
}

}  // namespace simt
