# Installed: the server, its manual page, and systemd units as examples.
include(GNUInstallDirs)
configure_file(${CMAKE_CURRENT_LIST_DIR}/touchstone.1 touchstone.1 @ONLY)
install(TARGETS touchstone RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
# The unit names the program where it is installed: cmake --install may be given another prefix.
install(CODE "
  set(TOUCHSTONE_BINDIR \"${CMAKE_INSTALL_BINDIR}\")
  if(NOT IS_ABSOLUTE \"\${TOUCHSTONE_BINDIR}\")
    get_filename_component(TOUCHSTONE_BINDIR \"\${TOUCHSTONE_BINDIR}\" ABSOLUTE
      BASE_DIR \"\${CMAKE_INSTALL_PREFIX}\")
  endif()
  configure_file(\"${CMAKE_CURRENT_LIST_DIR}/touchstone.service.in\"
    \"${PROJECT_BINARY_DIR}/touchstone.service\" @ONLY)")
install(FILES ${PROJECT_BINARY_DIR}/touchstone.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${PROJECT_BINARY_DIR}/touchstone.service
  ${CMAKE_CURRENT_LIST_DIR}/touchstone.socket DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_CONTACT "the Touchstone authors")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "verified baseline for event-loop TCP servers")
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "the Touchstone authors <touchstone@localhost>")
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
include(CPack)
