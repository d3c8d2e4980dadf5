#pragma once

#include <unistd.h>

#include <stdexcept>

namespace lisa::test {

/// While it lives, file permissions bind this process: the superuser, whom nothing is denied, becomes somebody else.
class OrdinaryUser {
 public:
  OrdinaryUser() : user_(::geteuid()) {
    if (user_ == 0 && ::seteuid(nobody) != 0) throw std::runtime_error("cannot become an ordinary user");
  }
  ~OrdinaryUser() {
    if (user_ == 0) static_cast<void>(::seteuid(user_) == 0);
  }
  OrdinaryUser(const OrdinaryUser&) = delete;
  OrdinaryUser& operator=(const OrdinaryUser&) = delete;

 private:
  static constexpr uid_t nobody = 65534;
  uid_t user_;
};

}  // namespace lisa::test
