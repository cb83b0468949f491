# What is installed: the shared library of the C ABI, headers, CMake package, pkg-config file, the TensorFlow Lite
# runtime and the models. In a wheel all of it stands in the package's own folder; nothing in it names a place, so
# that the folder can be moved.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

if(LINKCAST_BUILD_PYTHON)
  set(_libdir linkcast)
  set(_includedir linkcast/include)
  set(_cmakedir linkcast/cmake)
  set(_pkgconfigdir linkcast/pkgconfig)
  set(_datadir linkcast)
else()
  set(_libdir "${CMAKE_INSTALL_LIBDIR}")
  set(_includedir "${CMAKE_INSTALL_INCLUDEDIR}")
  set(_cmakedir "${CMAKE_INSTALL_LIBDIR}/cmake/linkcast")
  set(_pkgconfigdir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
  set(_datadir "${CMAKE_INSTALL_DATADIR}/linkcast")
endif()

install(TARGETS linkcast EXPORT linkcast-targets LIBRARY DESTINATION "${_libdir}"
        INCLUDES DESTINATION "${_includedir}")
install(FILES cpp/include/linkcast/linkcast.h cpp/include/linkcast/linkcast.hpp DESTINATION "${_includedir}/linkcast")
install(EXPORT linkcast-targets NAMESPACE linkcast:: DESTINATION "${_cmakedir}")
configure_package_config_file(cmake/linkcast-config.cmake.in linkcast-config.cmake INSTALL_DESTINATION "${_cmakedir}")
write_basic_package_version_file(linkcast-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/linkcast-config.cmake"
              "${CMAKE_CURRENT_BINARY_DIR}/linkcast-config-version.cmake"
        DESTINATION "${_cmakedir}")

# Paths relative to the .pc file's own folder.
set(_root "/prefix")
file(RELATIVE_PATH LINKCAST_PC_PREFIX "${_root}/${_pkgconfigdir}" "${_root}")
string(REGEX REPLACE "/$" "" LINKCAST_PC_PREFIX "${LINKCAST_PC_PREFIX}")
set(LINKCAST_PC_LIBDIR "${_libdir}")
set(LINKCAST_PC_INCLUDEDIR "${_includedir}")
configure_file(cmake/linkcast.pc.in linkcast.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/linkcast.pc" DESTINATION "${_pkgconfigdir}")

# The Go module: a project's go.mod says `replace linkcast => <this folder>`, and cgo asks pkg-config.
install(FILES bindings/go/go.mod bindings/go/linkcast.go bindings/go/policies.go bindings/go/predictor.go
        DESTINATION "${_datadir}/go")

install(FILES "${TensorFlowLiteC_LIBRARY}" DESTINATION "${_libdir}" RENAME libtensorflowlite_c.so)
if(TensorFlowLiteC_LICENSE)
  install(FILES "${TensorFlowLiteC_LICENSE}" DESTINATION "${_datadir}" RENAME libtensorflowlite_c.LICENSE)
endif()
install(DIRECTORY models metadata DESTINATION "${_datadir}")

# The bill of materials: in a wheel where PEP 770 has it.
if(TensorFlowLiteC_KNOWN)
  set(_sbom_version 2.17.1)
  set(_sbom_supplier "pymicro-wakeword 2.5.0")
  set(_sbom_purl "pkg:github/tensorflow/tensorflow@v2.17.1")
else()
  set(_sbom_version unknown)
  set(_sbom_supplier "whoever built it: LINKCAST_TFLITE_LIBRARY names another one than linkcast knows")
  set(_sbom_purl "pkg:github/tensorflow/tensorflow")
endif()
configure_file(packaging/sbom.cdx.json.in linkcast.cdx.json @ONLY)
if(SKBUILD_METADATA_DIR)
  set(_sbomdir "${SKBUILD_METADATA_DIR}/sboms")
else()
  set(_sbomdir "${_datadir}/sboms")
endif()
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/linkcast.cdx.json" DESTINATION "${_sbomdir}")
