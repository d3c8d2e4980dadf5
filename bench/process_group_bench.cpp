// Two Gloo processes on this machine, one thread each: a backward pass through 12 linear maps (50 MB of fp32
// gradients) alone, the sum of its gradients alone, the two one after the other, and overlapped by GradientBuckets. How
// much of the sum the overlap hides is (after - overlapped) / sum: nothing where the processes keep all cores busy,
// since between processes of one machine a sum is work for the same cores. The gain of waiting for a network meanwhile
// is not measured here. The second process is this program again.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <benchmark/benchmark.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "lisa/train/gradient_buckets.hpp"
#include "lisa/train/process_group_gloo.hpp"

namespace {

constexpr const char* rank_variable = "LISA_BENCH_RANK";
constexpr std::int64_t width = 1024, rows = 512, layers = 12;

enum class Work { backward, sum, after, overlapped };

/// The other process of a pair; ends with this object.
class Partner {
 public:
  explicit Partner(const std::string& benchmark_name) {
    if (std::getenv(rank_variable) != nullptr) return;  // this is the partner
    process_ = ::fork();
    if (process_ != 0) return;
    ::setenv(rank_variable, "1", 1);
    const int nowhere = ::open("/dev/null", O_WRONLY);
    ::dup2(nowhere, 1);
    ::dup2(nowhere, 2);
    const std::string filter = "--benchmark_filter=^" + benchmark_name + "/";
    ::execl("/proc/self/exe", "process_group_bench", filter.c_str(), nullptr);
    ::_exit(127);
  }
  ~Partner() {
    if (process_ > 0) ::waitpid(process_, nullptr, 0);
  }
  Partner(const Partner&) = delete;
  Partner& operator=(const Partner&) = delete;

 private:
  pid_t process_ = -1;
};

void step(benchmark::State& state, Work work, const std::string& name, std::uint16_t port) {
  const Partner partner(name);
  std::signal(SIGPIPE, SIG_IGN);
  at::set_num_threads(1);
  const lisa::ProcessPlace place{
      .rank = std::getenv(rank_variable) == nullptr ? 0 : 1, .world_size = 2, .host = "127.0.0.1", .port = port};
  const std::unique_ptr<lisa::ProcessGroup> group = lisa::join_process_group(place);
  std::vector<at::Tensor> weights;
  for (std::int64_t i = 0; i < layers; ++i) weights.push_back(at::randn({width, width}).mul(0.03).requires_grad_(true));
  const at::Tensor x = at::randn({rows, width});
  lisa::GradientBuckets buckets(*group, weights, 8 << 20);
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& weight : weights) gradients.push_back(weight.detach().clone());
  for (auto _ : state) {
    state.PauseTiming();
    at::Tensor y = x;
    for (const at::Tensor& weight : weights) y = at::linear(y, weight).relu();
    const at::Tensor loss = y.sum();
    group->barrier();
    state.ResumeTiming();
    if (work == Work::overlapped) buckets.begin({});
    if (work != Work::sum) {
      loss.backward();
      for (std::size_t i = 0; i < weights.size(); ++i) gradients[i] = weights[i].grad();
      for (at::Tensor& weight : weights) weight.mutable_grad() = at::Tensor();
    }
    if (work != Work::backward) buckets.finish(gradients);
  }
  group->barrier();
}

BENCHMARK_CAPTURE(step, backward, Work::backward, "step/backward", 29'611)
    ->Iterations(10)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(step, sum, Work::sum, "step/sum", 29'612)
    ->Iterations(10)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(step, after, Work::after, "step/after", 29'613)
    ->Iterations(10)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(step, overlapped, Work::overlapped, "step/overlapped", 29'614)
    ->Iterations(10)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
