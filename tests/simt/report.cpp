#include <dlfcn.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "launch.hpp"
#include "source_line.hpp"

namespace simt {

std::string source_line(const void* pc) {
  Dl_info info{};
  if (pc == nullptr || dladdr(pc, &info) == 0) return "an unknown place";
  // A return address is behind its call, so the line sought is that of the byte before.
  const auto offset = reinterpret_cast<std::uintptr_t>(pc) - reinterpret_cast<std::uintptr_t>(info.dli_fbase) - 1;
  std::array<char, 32> hex{};
  std::snprintf(hex.data(), hex.size(), "0x%zx", static_cast<std::size_t>(offset));
  const std::string command = std::string("addr2line -e '") + info.dli_fname + "' " + hex.data() + " 2>/dev/null";
  std::string line;
  if (const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose); pipe != nullptr) {
    for (int c = std::fgetc(pipe.get()); c != EOF && c != '\n'; c = std::fgetc(pipe.get()))
      line += static_cast<char>(c);
  }
  if (line.empty() || line[0] == '?') return std::string("offset ") + hex.data();
  return line.substr(line.rfind('/') + 1);
}

std::string Report::text() const {
  static constexpr std::array kinds{
      "write against write",        "read of an unordered write",
      "write against read",         "read of uninitialised memory",
      "access to a copy in flight", "write that no fence shows to the asynchronous proxy"};
  const auto who = [this](const Actor& actor) {
    const std::string name =
        actor.thread < threads ? "thread " + std::to_string(actor.thread) : std::string("asynchronous operation");
    return "block " + std::to_string(actor.block) + " " + name + " at " + source_line(actor.pc);
  };
  std::string text = fault;
  for (const Finding& finding : findings) {
    if (!text.empty()) text += "\n";
    text += std::string(kinds[static_cast<std::size_t>(finding.kind)]) + " in " + finding.memory + " at byte " +
            std::to_string(finding.offset) + ": " + who(finding.later);
    if (finding.kind != Finding::Kind::uninitialised_read) text += ", after " + who(finding.earlier);
  }
  if (repeated != 0) text += "\nand " + std::to_string(repeated) + " more at the same places";
  return text;
}

}  // namespace simt
