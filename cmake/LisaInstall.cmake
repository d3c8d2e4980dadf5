# Install rules and the package that find_package(lisa) reads.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

option(LISA_INSTALL_TORCH_HINT "Installed package remembers this machine's libtorch folder; off for packages given away"
       ON)
set(LISA_TORCH_HINT "")
if(LISA_INSTALL_TORCH_HINT AND LibTorch_INCLUDE_DIR)
  get_filename_component(LISA_TORCH_HINT "${LibTorch_INCLUDE_DIR}/.." ABSOLUTE)
endif()

set(lisa_package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/lisa")
set(LISA_PROGRAM_FOLDER "${CMAKE_INSTALL_DATADIR}/lisa/program")

install(DIRECTORY include/lisa DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(DIRECTORY examples/cli/ DESTINATION "${LISA_PROGRAM_FOLDER}"
        FILES_MATCHING PATTERN "*.cpp" PATTERN "*.hpp" PATTERN "*.in")
install(TARGETS ${lisa_targets} EXPORT lisaTargets)
install(EXPORT lisaTargets NAMESPACE lisa:: DESTINATION "${lisa_package_folder}")
set(lisa_any_architecture ARCH_INDEPENDENT)
if(TARGET lisa_cuda)
  # An export of its own, read only by those who ask for the component: it needs a CUDA toolkit.
  install(TARGETS lisa_cuda_kernels lisa_cuda EXPORT lisaCudaTargets ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
  install(EXPORT lisaCudaTargets NAMESPACE lisa:: DESTINATION "${lisa_package_folder}")
  set(lisa_any_architecture "")
endif()

configure_package_config_file(cmake/lisaConfig.cmake.in "${CMAKE_CURRENT_BINARY_DIR}/lisaConfig.cmake"
                              INSTALL_DESTINATION "${lisa_package_folder}" PATH_VARS LISA_PROGRAM_FOLDER)
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/lisaConfigVersion.cmake" COMPATIBILITY SameMinorVersion
                                 ${lisa_any_architecture})
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/lisaConfig.cmake" "${CMAKE_CURRENT_BINARY_DIR}/lisaConfigVersion.cmake"
              cmake/FindLibTorch.cmake cmake/FindLisaCodecs.cmake cmake/LisaProgram.cmake
        DESTINATION "${lisa_package_folder}")
install(FILES LICENSE README.md CHANGELOG.md DESTINATION "${CMAKE_INSTALL_DOCDIR}" OPTIONAL)
