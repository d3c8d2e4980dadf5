#include "lisa/train/process_group.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Logging.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "lisa/checkpoint/save.hpp"
#include "lisa/checkpoint/tensor_file.hpp"
#include "lisa/checkpoint/tensor_view.hpp"
#include "lisa/train/adamw.hpp"
#include "lisa/train/gradient_buckets.hpp"
#include "lisa/train/gradient_checkpoint.hpp"
#include "lisa/train/gradients.hpp"
#include "lisa/train/process_group_gloo.hpp"
#include "lisa/train/process_place.hpp"
#include "lisa/train/sharded_states.hpp"
#include "tests/support/bad_input.hpp"
#include "tests/support/child_process.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/train/process_roles.hpp"

#undef CHECK
#undef CHECK_EQ
#undef CHECK_NE
#undef CHECK_LT
#undef CHECK_LE
#undef CHECK_GT
#undef CHECK_GE
#include <doctest/doctest.h>

using lisa::ProcessGroup;
using lisa::ProcessPlace;
using lisa::test::ChildProcess;
using lisa::test::end_of_patience;
using lisa::test::Environment;
using lisa::test::free_port;
using lisa::test::Listener;
using lisa::test::patience;
using lisa::test::run_role;
using lisa::test::start;
using lisa::test::TempDir;
using lisa::test::variable;

namespace {

lisa::EnvironmentLookup among(Environment variables) {
  return [variables = std::move(variables)](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
}

// A small problem: samples are numbers, the loss of one depends on three parameters; "rare" has a gradient only for
// samples 3 and 7, "never" has none, and "twice" gets its gradient in several parts.

struct Problem {
  at::Tensor first = at::arange(1, 7, at::kFloat).div(7).view({2, 3}).requires_grad_(true);
  at::Tensor never = at::full({5}, 1, at::kFloat).requires_grad_(true);
  at::Tensor rare = at::full({4}, 0.5, at::kFloat).requires_grad_(true);
  at::Tensor twice = at::full({3}, 0.25, at::kFloat).requires_grad_(true);

  [[nodiscard]] std::vector<lisa::TrainedParameter> parameters() const {
    return {{"first", first}, {"never", never}, {"rare", rare}, {"twice", twice}};
  }
  [[nodiscard]] std::vector<at::Tensor> tensors() const { return {first, never, rare, twice}; }

  [[nodiscard]] at::Tensor loss(int sample) const {
    const at::Tensor x = at::arange(3, at::kFloat).add(sample).div(5);
    // Recomputed in the backward pass, each use adds to the gradient by itself.
    const auto recomputed = [run = lisa::gradient_checkpoint()](const at::Tensor& parameter, const at::Tensor& input) {
      return run([parameter](const std::vector<at::Tensor>& inputs) { return parameter.mul(inputs[0]).square().sum(); },
                 {input});
    };
    at::Tensor loss = first.mul(x).tanh().sum().add(recomputed(twice, x)).add(recomputed(twice, x.add(1)));
    if (sample % 4 == 3) loss = loss.add(rare.square().sum());
    return loss;
  }
};

/// Six steps on the samples of this rank, 8 per step in all, in micro-batches of 2 samples.
void train_problem(ProcessGroup& group, bool sharded, const std::filesystem::path& result) {
  Problem problem;
  std::vector<std::int64_t> sizes;
  for (const at::Tensor& tensor : problem.tensors()) sizes.push_back(tensor.numel());
  const std::vector<int> owners = lisa::state_owners(sizes, group.size());
  std::vector<lisa::TrainedParameter> mine;
  for (std::size_t i = 0; i < owners.size(); ++i)
    if (!sharded || owners[i] == group.rank()) mine.push_back(problem.parameters()[i]);
  lisa::AdamW optimizer(mine);
  lisa::GradientBuckets buckets(group, problem.tensors(), /*bucket_bytes=*/32);
  lisa::NamedTensors saved;
  for (int step = 0; step < 6; ++step) {
    group.note(step, "backward");
    lisa::GradientSum gradients;
    at::Tensor loss_sum = at::zeros({1}, at::kDouble);
    const int share = 8 / group.size();
    for (int sample = group.rank() * share; sample < (group.rank() + 1) * share; sample += 2) {
      const bool last = sample + 2 == (group.rank() + 1) * share;
      if (last) buckets.begin(gradients.tensors());
      for (const int one : {sample, sample + 1}) {
        const at::Tensor loss = problem.loss(one).div(8);
        loss.backward();
        loss_sum.add_(loss.detach());
      }
      gradients.take(problem.parameters());
    }
    buckets.finish(gradients.tensors());
    group.begin_sum(loss_sum)->wait();
    CHECK(!gradients.tensors()[1].defined());
    std::vector<at::Tensor> own;
    for (std::size_t i = 0; i < owners.size(); ++i)
      if (!sharded || owners[i] == group.rank()) own.push_back(gradients.tensors()[i]);
    optimizer.step(own, 0.01);
    if (sharded) lisa::broadcast_from_owners(group, problem.tensors(), owners, /*message_bytes=*/16);
    saved.emplace_back("loss." + std::to_string(step), loss_sum);
  }
  for (const auto& [name, value, part] : problem.parameters()) saved.emplace_back(name, value.detach());
  lisa::write_safetensors(result, saved);

  lisa::NamedTensors moments;
  if (sharded || group.rank() == 0) moments = optimizer.state().at("second_moment");
  const lisa::NamedTensors gathered = lisa::gather_tensors(group, moments);
  CHECK(gathered.size() == (group.rank() == 0 ? 4U : 0U));
  if (group.rank() == 0) lisa::write_safetensors(result.string() + ".moments", gathered);
}

/// Largest difference between two files' tensors, relative to the largest value of each.
double difference(const std::filesystem::path& a, const std::filesystem::path& b) {
  double worst = 0;
  const lisa::TensorFile one = lisa::open_tensor_file(a), other = lisa::open_tensor_file(b);
  REQUIRE(one.tensors.size() == other.tensors.size());
  for (const lisa::StoredTensor& stored : one.tensors) {
    for (const lisa::StoredTensor& match : other.tensors) {
      if (match.name != stored.name) continue;
      const at::Tensor x = lisa::tensor_view(one.file, stored), y = lisa::tensor_view(other.file, match);
      const double scale = x.abs().max().item<double>();
      worst = std::max(worst, x.sub(y).abs().max().item<double>() / (scale == 0 ? 1 : scale));
    }
  }
  return worst;
}

}  // namespace

TEST_CASE("a process reads its place from what each launcher sets") {
  CHECK(lisa::process_place(among({})).world_size == 1);
  CHECK(lisa::process_place(among({{"RANK", "0"}, {"WORLD_SIZE", "1"}})).world_size == 1);
  const ProcessPlace torchrun = lisa::process_place(among({{"RANK", "3"},
                                                           {"WORLD_SIZE", "4"},
                                                           {"LOCAL_RANK", "1"},
                                                           {"MASTER_ADDR", "node7"},
                                                           {"MASTER_PORT", "29400"},
                                                           {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                                                           {"TORCHELASTIC_RESTART_COUNT", "2"}}));
  CHECK(torchrun.rank == 3);
  CHECK(torchrun.local_rank == 1);
  CHECK(torchrun.host == "node7");
  CHECK(torchrun.port == 29400);
  CHECK(torchrun.store_is_served);
  CHECK(torchrun.attempt == "2");
  const ProcessPlace mpi = lisa::process_place(
      among({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}}));
  CHECK(mpi.rank == 1);
  CHECK(mpi.host == "127.0.0.1");
  CHECK(lisa::process_place(among({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "5"}}))
            .rank == 1);
  CHECK(lisa::process_place(
            among({{"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "2"}, {"SLURM_STEP_ID", "0"}, {"SLURM_NNODES", "1"}}))
            .rank == 1);
  // Inside a batch script, but not started by srun.
  CHECK(lisa::process_place(among({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "2"}})).world_size == 1);
}

TEST_CASE("a wrong environment is refused with everything that is wrong in it") {
  const auto broken = [](const std::string& row, const Environment& environment, std::vector<std::string> words) {
    return lisa::test::broken_promises({.row = row, .kind = lisa::ErrorKind::input, .words = std::move(words)},
                                       [&] { static_cast<void>(lisa::process_place(among(environment))); });
  };
  CHECK(broken("no size", {{"RANK", "0"}}, {"WORLD_SIZE: not set"}) == "");
  CHECK(broken("no rank", {{"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "1"}}, {"RANK: not set"}) == "");
  CHECK(broken("rank too high", {{"RANK", "2"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "1"}},
               {"RANK: found \"2\", expected a whole number from 0 to 1"}) == "");
  CHECK(broken("words", {{"RANK", "one"}, {"WORLD_SIZE", "2x"}, {"LOCAL_RANK", "-1"}},
               {"3 defects", "RANK: found \"one\"", "WORLD_SIZE: found \"2x\"", "LOCAL_RANK: found \"-1\""}) == "");
  CHECK(broken("no meeting point", {{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_PORT", "70000"}},
               {"MASTER_ADDR: not set", "MASTER_PORT: found \"70000\""}) == "");
  CHECK(broken("two machines",
               {{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}},
               {"environment of Open MPI", "MASTER_ADDR: not set", "MASTER_PORT: not set"}) == "");
}

TEST_CASE("optimiser states are spread evenly, and one process works without any network") {
  CHECK(lisa::state_owners({10, 70, 20, 40, 30}, 2) == std::vector<int>{1, 0, 0, 1, 1});
  CHECK(lisa::state_owners({5, 5, 5}, 1) == std::vector<int>{0, 0, 0});
  lisa::SingleProcess single;
  CHECK_NOTHROW(lisa::require_same_everywhere(single, {{"config", "x"}}));
  CHECK(single.exchange("text") == std::vector<std::string>{"text"});
}

TEST_CASE("sums begin while the backward pass still runs, in the order of their buckets") {
  struct Recording final : ProcessGroup {
    std::vector<std::int64_t> begun;  ///< elements of each sum
    [[nodiscard]] int rank() const override { return 0; }
    [[nodiscard]] int size() const override { return 2; }
    [[nodiscard]] std::unique_ptr<lisa::PendingOperation> begin_sum(const at::Tensor& tensor) override {
      begun.push_back(tensor.numel());
      return lisa::SingleProcess().begin_sum(tensor);
    }
    void broadcast(const at::Tensor& /*tensor*/, int /*root*/) override {}
    [[nodiscard]] std::vector<std::string> exchange(const std::string& mine) override { return {mine, mine}; }
    void barrier() override {}
    void note(std::int64_t /*step*/, const std::string& /*phase*/) override {}
  };
  Recording group;
  std::vector<at::Tensor> parameters;
  for (const std::int64_t size : {8, 4, 2}) parameters.push_back(at::full({size}, 1, at::kFloat).requires_grad_(true));
  lisa::GradientBuckets buckets(group, parameters, /*bucket_bytes=*/4);  // a bucket for each
  std::vector<at::Tensor> sums;
  parameters[2].sum().backward();  // an earlier micro-batch: nothing begins
  CHECK(group.begun.empty());
  buckets.begin(sums);
  parameters[1].sum().backward();  // has to wait for the bucket before it
  CHECK(group.begun.empty());
  parameters[2].sum().backward();
  CHECK(group.begun == std::vector<std::int64_t>{2, 4});
  for (const at::Tensor& parameter : parameters) sums.push_back(parameter.grad());
  buckets.finish(sums, /*factor=*/0.5);
  CHECK(group.begun == std::vector<std::int64_t>{2, 4, 8, 3 + 3});  // the last: what each process has
  CHECK(!sums[0].defined());
  CHECK(sums[1].sum().item<double>() == 4 * 0.5);
  CHECK(sums[2].sum().item<double>() == 2 * 2 * 0.5);
}

TEST_CASE("two processes train as one with twice the batch") {
  if (const auto folder = variable("TEST_FOLDER"))
    run_role([&](ProcessGroup& group) {
      lisa::require_same_everywhere(group, {{"config", "a"}, {"parameters", "b"}});
      for (const bool sharded : {false, true})
        train_problem(group, sharded, *folder + (sharded ? "/sharded-" : "/whole-") + std::to_string(group.rank()));
      group.barrier();
    });
  const TempDir folder;
  std::vector<ChildProcess> processes = start("two processes train as one with twice the batch", 2, free_port(), folder,
                                              [](int) { return Environment{}; });
  for (ChildProcess& process : processes) {
    const bool ended_well = process.wait(end_of_patience) == 0;
    CHECK_MESSAGE(ended_well, process.output());
    CHECK(process.output().find("ERROR") == std::string::npos);
  }
  lisa::SingleProcess single;
  train_problem(single, false, folder / "single");
  // fp32 sums of eight terms in another order.
  for (const char* const result : {"whole-0", "whole-1", "sharded-0", "sharded-1"}) {
    CAPTURE(result);
    CHECK(difference(folder / "single", folder / result) < 2e-6);
  }
  // AdamW's steps hardly depend on the size of a gradient; its moments do.
  CHECK(difference(folder / "single.moments", folder / "whole-0.moments") < 4e-6);
  CHECK(difference(folder / "whole-0", folder / "whole-1") == 0);
  CHECK(difference(folder / "whole-0", folder / "sharded-1") == 0);
  CHECK(difference(folder / "whole-0.moments", folder / "sharded-0.moments") == 0);
}

TEST_CASE("processes that do not fit together are named") {
  if (const auto role = variable("TEST_ROLE"))
    run_role([&](ProcessGroup& group) {
      lisa::require_same_everywhere(
          group, {{"config", "a"}, {"batches", *role == "facts" && group.rank() != 0 ? "11" : "10"}});
    });
  const std::string name = "processes that do not fit together are named";
  const TempDir folder;
  struct Case {
    std::string role;
    int count;
    Environment others;              ///< of the ranks but 0
    std::vector<std::string> words;  ///< in the message of at least one process
    int failing;                     ///< how many processes must fail at least
  };
  const Listener taken;
  const std::vector<Case> cases{
      {"facts", 3, {}, {"batches: found \"11\" on rank 1, 2, expected \"10\" as on rank 0"}, 3},
      {"missing",
       2,
       {{"RANK", "1"}, {"WORLD_SIZE", "3"}, {"TEST_JOIN_MS", "4000"}},
       {"world_size", "found 3 on rank 1, expected 2"},
       1},
      {"twice",
       3,
       {{"RANK", "1"}, {"TEST_JOIN_MS", "4000"}},
       {"RANK: found 1 in process", "expected each rank once"},
       1},
  };
  std::vector<std::vector<ChildProcess>> groups;
  for (const Case& one : cases)
    groups.push_back(start(name, one.count, free_port(), folder, [&](int rank) {
      Environment environment = rank == 0 ? Environment{{"TEST_JOIN_MS", "4000"}} : one.others;
      environment["TEST_ROLE"] = one.role;
      return environment;
    }));
  // A rank that never comes, and a port that another program has.
  groups.push_back(start(name, 2, free_port(), folder, [](int rank) {
    return Environment{
        {"TEST_ROLE", "absent"}, {"TEST_JOIN_MS", "3000"}, {"WORLD_SIZE", "3"}, {"RANK", std::to_string(rank)}};
  }));
  groups.push_back(start(name, 1, taken.port(), folder,
                         [](int) { return Environment{{"TEST_ROLE", "port"}, {"WORLD_SIZE", "2"}}; }));
  const auto outputs = [&](std::vector<ChildProcess>& group, int failing) {
    std::string all;
    for (ChildProcess& process : group) {
      const auto code = process.wait(end_of_patience);
      CHECK_MESSAGE(code.has_value(), "a process hangs");
      if (code == 3) --failing;
      CHECK_MESSAGE((code == 0 || code == 3), process.output());
      all += process.output();
    }
    CHECK_MESSAGE(failing <= 0, all);
    return all;
  };
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const std::string all = outputs(groups[i], cases[i].failing);
    for (const std::string& word : cases[i].words) CHECK_MESSAGE(all.find(word) != std::string::npos, all);
  }
  const std::string absent = outputs(groups[3], 2);
  CHECK_MESSAGE(absent.find("rank 2 of 3 did not come within 3 s") != std::string::npos, absent);
  const std::string port = outputs(groups[4], 1);
  CHECK_MESSAGE(port.find("found the port in use") != std::string::npos, port);
}

TEST_CASE("processes meet at the store of a launcher and when it starts them again") {
  if (const auto role = variable("TEST_ROLE"))
    run_role([&](ProcessGroup& group) {
      const at::Tensor sum = at::full({3}, group.rank() + 1, at::kFloat);
      group.begin_sum(sum)->wait();
      if (sum[2].item<float>() != 3) throw std::runtime_error("a wrong sum");
      if (*role == "lose" && group.rank() == 1) std::raise(SIGKILL);
      static_cast<void>(group.exchange("there"));
    });
  // As torchrun's agent: it serves the store, and none of its processes must.
  c10d::TCPStoreOptions options;
  options.port = 0;
  options.isServer = true;
  options.waitWorkers = false;
  const auto launcher = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options);
  const TempDir folder;
  const auto attempt = [&](const std::string& number, const std::string& role) {
    return start("processes meet at the store of a launcher and when it starts them again", 2,
                 std::to_string(launcher->getPort()), folder, [&](int) {
                   return Environment{{"TORCHELASTIC_USE_AGENT_STORE", "True"},
                                      {"TORCHELASTIC_RESTART_COUNT", number},
                                      {"TEST_ROLE", role}};
                 });
  };
  std::vector<ChildProcess> first = attempt("0", "lose");
  const auto code = first[0].wait(end_of_patience);
  CHECK_MESSAGE(code == 3, first[0].output());
  CHECK_MESSAGE(first[0].output().find("rank 1 stopped answering") != std::string::npos, first[0].output());
  CHECK(first[1].wait(end_of_patience) == 128 + SIGKILL);
  // The store still holds what the first attempt said there.
  for (ChildProcess& process : attempt("1", "meet")) {
    const auto ended = process.wait(end_of_patience);
    CHECK_MESSAGE(ended == 0, process.output());
  }
}

TEST_CASE("a lost process ends the others in time and they name it and where it was") {
  if (const auto role = variable("TEST_ROLE"))
    run_role([&](ProcessGroup& group) {
      const at::Tensor values = at::full({1000}, 1, at::kFloat);
      const std::string phase = *variable("TEST_PHASE");
      for (int step = 0; step < 1000; ++step) {
        group.note(step, phase);
        if (step == 3 && group.rank() == std::stoi(*variable("TEST_VICTIM"))) {
          lisa::test::write_text(*variable("TEST_LOSS"), "");
          if (*role == "kill") std::raise(SIGKILL);
          if (*role == "stop") std::raise(SIGSTOP);
          if (*role == "throw") throw std::runtime_error("a fault of this rank");
          if (*role == "exit") ::_exit(0);
        }
        if (phase == "backward") group.begin_sum(values)->wait();
        if (phase == "optimizer") group.broadcast(values, /*root=*/0);
        if (phase == "data") static_cast<void>(group.exchange("text"));
        if (phase == "saving") group.barrier();
      }
    });
  // An operation's patience, then the search for who is lost (8 heartbeats and 1 s) and the farewell (2 heartbeats).
  // As much again is for a machine that does other things.
  const auto within = 2 * (patience.operation + 10 * patience.heartbeat + std::chrono::seconds(1));
  const std::string name = "a lost process ends the others in time and they name it and where it was";
  const TempDir folder;
  struct Case {
    std::string role;
    int victim;
    std::string phase;
    std::string operation;  ///< what the others are waiting in
  };
  for (const auto& cases : {std::vector<Case>{{"kill", 1, "backward", "sum"},
                                              {"stop", 1, "backward", "sum"},
                                              {"throw", 1, "backward", "sum"},
                                              {"kill", 2, "data", "exchange"}},
                            {{"exit", 2, "backward", "sum"},
                             {"kill", 0, "backward", "sum"},
                             {"stop", 0, "backward", "sum"},
                             {"kill", 1, "saving", "barrier"},
                             {"kill", 0, "optimizer", "broadcast"}}}) {
    std::vector<std::vector<ChildProcess>> groups;
    const auto loss_of = [&](std::size_t i) { return folder / ("loss-" + std::to_string(i)); };
    for (std::size_t i = 0; i < cases.size(); ++i)
      groups.push_back(start(name, 3, free_port(), folder, [&](int) {
        return Environment{{"TEST_ROLE", cases[i].role},
                           {"TEST_VICTIM", std::to_string(cases[i].victim)},
                           {"TEST_PHASE", cases[i].phase},
                           {"TEST_LOSS", loss_of(i).string()}};
      }));
    for (std::size_t i = 0; i < cases.size(); ++i) {
      for (int rank = 0; rank < 3; ++rank) {
        if (rank == cases[i].victim) continue;
        ChildProcess& survivor = groups[i][static_cast<std::size_t>(rank)];
        const auto code = survivor.wait(end_of_patience);
        const std::string output = survivor.output();
        CAPTURE(cases[i].role);
        CAPTURE(cases[i].phase);
        CAPTURE(rank);
        CHECK_MESSAGE(code == 3, output);
        // Its last words come after it has left the group.
        CHECK(survivor.last_output() - std::filesystem::last_write_time(loss_of(i)) < within);
        const std::string victim = "rank " + std::to_string(cases[i].victim);
        const bool named = output.find(victim + " stopped") != std::string::npos ||
                           output.find(victim + " left in step 3") != std::string::npos ||
                           output.find(victim + ", which serves the store,") != std::string::npos;
        CHECK_MESSAGE(named, output);
        const std::string here = "noticed here in step 3, " + cases[i].phase + ", " + cases[i].operation;
        CHECK_MESSAGE(output.find(here) != std::string::npos, output);
      }
    }
  }
}
