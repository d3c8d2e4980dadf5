#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"

namespace lisa {

/// Which process of a group this is, and where the group meets.
struct ProcessPlace {
  int rank = 0;
  int world_size = 1;
  int local_rank = 0;  ///< among the processes of this machine
  std::string host;    ///< of the store that the processes meet at; empty for a single process
  std::uint16_t port = 0;
  bool store_is_served = false;  ///< the launcher serves the store; otherwise rank 0 does
  std::string attempt = "0";     ///< differs each time that the launcher starts the group again
};

/// Looks up an environment variable; nothing when it is not set.
using EnvironmentLookup = std::function<std::optional<std::string>(const std::string& name)>;

namespace detail {

/// A launcher's names for rank, number of processes and rank on this machine.
struct Launcher {
  std::string_view name;
  const char* rank;
  const char* world_size;
  const char* local_rank;
  const char* sign;        ///< variable that tells the launcher from its mere installation
  const char* local_size;  ///< processes, or machines, from which a group on one machine is recognised; may be empty
};

// torchrun (and by hand), Open MPI, MPICH and its kin, Slurm's srun. SLURM_PROCID is set in batch scripts as well, the
// id of a step only by srun.
inline constexpr std::array<Launcher, 4> launchers{{
    {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "RANK", ""},
    {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE"},
    {"MPICH", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "PMI_RANK", "MPI_LOCALNRANKS"},
    {"Slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_STEP_ID", ""},
}};

/// A variable's whole number; a defect when it is set to something else, or not set and `needed`.
[[nodiscard]] inline std::optional<std::int64_t> environment_number(const EnvironmentLookup& look_up, const char* name,
                                                                    std::int64_t lowest, std::int64_t highest,
                                                                    bool needed, Defects& defects) {
  const std::string range = "a whole number from " + std::to_string(lowest) + " to " + std::to_string(highest);
  const std::optional<std::string> text = look_up(name);
  if (!text) {
    if (needed) defects.add(std::string(name) + ": not set, expected " + range);
    return std::nullopt;
  }
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error == std::errc() && end == text->data() + text->size() && value >= lowest && value <= highest) return value;
  defects.add(std::string(name) + ": " + found_expected(quoted(*text), range));
  return std::nullopt;
}

/// Whether the launcher says that all processes run on this machine.
[[nodiscard]] inline bool on_one_machine(const Launcher& launcher, int world_size, const EnvironmentLookup& look_up) {
  if (launcher.name == "Slurm") return look_up("SLURM_NNODES").value_or("") == "1";
  return *launcher.local_size != '\0' && look_up(launcher.local_size).value_or("") == std::to_string(world_size);
}

}  // namespace detail

/// Reads this process' place from the environment that torchrun, mpirun or srun sets up, or one sets up by hand: RANK,
/// WORLD_SIZE, MASTER_ADDR, MASTER_PORT. Without any of it this is a single process. mpirun and srun set no MASTER_ADDR
/// and MASTER_PORT; on one machine they default to this machine and 29500, torchrun's port.
/// Throws InputError with everything that is missing or wrong.
[[nodiscard]] inline ProcessPlace process_place(const EnvironmentLookup& look_up) {
  constexpr std::int64_t most_processes = 65'536;
  const detail::Launcher* launcher = nullptr;
  for (const detail::Launcher& candidate : detail::launchers)
    if (launcher == nullptr &&
        (look_up(candidate.sign) || (candidate.name == "torchrun" && look_up(candidate.world_size))))
      launcher = &candidate;
  if (launcher == nullptr) return {};

  Defects defects;
  ProcessPlace place;
  const auto number = [&](const char* name, std::int64_t lowest, std::int64_t highest, bool needed) {
    return detail::environment_number(look_up, name, lowest, highest, needed, defects);
  };
  const auto world_size = number(launcher->world_size, 1, most_processes, true);
  const auto rank = number(launcher->rank, 0, world_size.value_or(most_processes) - 1, true);
  place.local_rank = static_cast<int>(number(launcher->local_rank, 0, most_processes - 1, false).value_or(0));
  place.rank = static_cast<int>(rank.value_or(0));
  place.world_size = static_cast<int>(world_size.value_or(1));
  if (place.world_size > 1) {
    const bool local = detail::on_one_machine(*launcher, place.world_size, look_up);
    place.host = look_up("MASTER_ADDR").value_or(local ? "127.0.0.1" : "");
    if (place.host.empty()) defects.add("MASTER_ADDR: not set, expected the host name or address of rank 0's machine");
    place.port = static_cast<std::uint16_t>(number("MASTER_PORT", 1, 65'535, !local).value_or(29'500));
  }
  if (!defects.empty()) throw InputError("environment of " + std::string(launcher->name), defects.report("defects"));
  place.store_is_served = look_up("TORCHELASTIC_USE_AGENT_STORE").value_or("") == "True";
  place.attempt = look_up("TORCHELASTIC_RESTART_COUNT").value_or("0");
  return place;
}

}  // namespace lisa
